"""What each attempt required of TLS, who asked for it, and what was only observed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXTS = ("tls_required", "tls_required_why", "tls_observed")


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new columns at their default."""
    for name in _TEXTS:
        op.add_column("attempts", sa.Column(name, sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    for name in _TEXTS:
        op.drop_column("attempts", name)
