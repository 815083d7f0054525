"""What a summary of a very long queue reads, in the indexes that it goes through."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TURN = "state = 'queued' AND claim IS NULL"
_STUCK = "state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')"
_OF_TURN = ["urgency", "next_attempt_ms", "domain", "message_id", "number"]
_OF_STUCK = ["domain", "message_id", "number", "state", "last_ms"]


def upgrade() -> None:
    """Go forward: an older program that still runs does not notice."""
    _index("ix_recipients_turn", [*_OF_TURN, "state", "claim", "last_ms"], _TURN)
    _index("ix_recipients_stuck", [*_OF_STUCK, "next_attempt_ms"], _STUCK)


def downgrade() -> None:
    """Go back."""
    _index("ix_recipients_turn", _OF_TURN, _TURN)
    _index("ix_recipients_stuck", _OF_STUCK, _STUCK)


def _index(name: str, columns: list[str], where: str) -> None:
    op.drop_index(name, "recipients")
    condition = sa.text(where)
    op.create_index(name, "recipients", columns, sqlite_where=condition, postgresql_where=condition)
