"""From which of our addresses each attempt went out; an index of those without a last answer."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_UNKNOWN = "maybe_delivered"


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new column at its default."""
    op.add_column("attempts", sa.Column("source", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "ix_attempts_unknown",
        "attempts",
        ["ended_ms"],
        sqlite_where=sa.text(_UNKNOWN),
        postgresql_where=sa.text(_UNKNOWN),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_attempts_unknown", "attempts")
    op.drop_column("attempts", "source")
