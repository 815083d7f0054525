"""What running processes say of their sites."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new columns at their default."""
    op.add_column("nodes", sa.Column("sites", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("nodes", sa.Column("sites_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Go back."""
    for name in ("sites", "sites_ms"):
        op.drop_column("nodes", name)
