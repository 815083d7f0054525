"""Replies that rules act upon, counted by all processes together."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs counts for itself."""
    op.create_table(
        "samples",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("site_key", "source", "rule")),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("keep_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_samples"),
    )
    op.create_index("ix_samples_key", "samples", ["site_key", "source", "rule"])


def downgrade() -> None:
    """Go back: what was heard is counted anew."""
    op.drop_table("samples")
