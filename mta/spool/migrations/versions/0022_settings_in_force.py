"""The settings that each process works by."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: a new table, which an older program does not know."""
    op.create_table(
        "settings_in_force",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_settings_in_force"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("settings_in_force")
