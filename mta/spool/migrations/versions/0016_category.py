"""Why an attempt did not go through, as a word of the list of causes."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new columns at their default."""
    for table, name in (("recipients", "last_category"), ("attempts", "category")):
        op.add_column(table, sa.Column(name, sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    op.drop_column("attempts", "category")
    op.drop_column("recipients", "last_category")
