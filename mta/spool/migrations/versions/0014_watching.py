"""What running processes report while somebody looks; what is stuck, counted off its index."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


_STUCK = "state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')"
_KEY = ["domain", "message_id", "number"]


def _index(*more: str) -> None:
    op.drop_index("ix_recipients_stuck", "recipients")
    op.create_index(
        "ix_recipients_stuck",
        "recipients",
        [*_KEY, *more],
        sqlite_where=sa.text(_STUCK),
        postgresql_where=sa.text(_STUCK),
    )


def upgrade() -> None:
    """Go forward: an older program that still runs reports nothing."""
    op.add_column("nodes", sa.Column("report", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "wakeups",
        sa.Column("watched_until_ms", sa.BigInteger(), nullable=False, server_default="0"),
    )
    _index("state", "last_ms")


def downgrade() -> None:
    """Go back."""
    _index()
    op.drop_column("wakeups", "watched_until_ms")
    op.drop_column("nodes", "report")
