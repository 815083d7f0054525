"""How the sender asked for a later release (RFC 4865 §5.1.2), for reports."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new column at its default."""
    op.add_column("messages", sa.Column("hold", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    op.drop_column("messages", "hold")
