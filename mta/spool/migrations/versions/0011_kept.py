"""Octets of what was given up, kept for a while; routes that operators choose."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "kept",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_kept")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_kept_finished_ms"), "kept", ["finished_ms"])
    op.add_column("recipients", sa.Column("route", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    op.drop_column("recipients", "route")
    op.drop_table("kept")
