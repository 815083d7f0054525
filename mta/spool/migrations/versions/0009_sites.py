"""The name of the site in the history of attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new column at its default."""
    op.add_column("attempts", sa.Column("site", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    op.drop_column("attempts", "site")
