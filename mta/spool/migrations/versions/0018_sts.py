"""Policies of MTA-STS, as they were fetched."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: a new table, which an older program does not know."""
    op.create_table(
        "sts_policies",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("failed_ms", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name="pk_sts_policies"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sts_policies_due_ms", "sts_policies", ["due_ms"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("sts_policies")
