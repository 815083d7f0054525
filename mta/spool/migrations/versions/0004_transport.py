"""What a message asks of every hop: BINARYMIME, SMTPUTF8, REQUIRETLS, TLS-Required: No."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FLAGS = ("binary", "utf8", "require_tls", "tls_not_required")


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new columns at their default."""
    for name in _FLAGS:
        op.add_column(
            "messages", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    """Go back."""
    for name in _FLAGS:
        op.drop_column("messages", name)
