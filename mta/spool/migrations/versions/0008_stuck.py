"""An index of what waits in spite of an attempt, by domain."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STUCK = "state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')"


def upgrade() -> None:
    """Go forward."""
    op.create_index(
        "ix_recipients_stuck",
        "recipients",
        ["domain", "message_id", "number"],
        sqlite_where=sa.text(_STUCK),
        postgresql_where=sa.text(_STUCK),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_recipients_stuck", "recipients")
