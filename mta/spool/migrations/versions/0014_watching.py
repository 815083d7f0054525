"""What running processes report of themselves while somebody looks."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs reports nothing."""
    op.add_column("nodes", sa.Column("report", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "wakeups",
        sa.Column("watched_until_ms", sa.BigInteger(), nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_column("wakeups", "watched_until_ms")
    op.drop_column("nodes", "report")
