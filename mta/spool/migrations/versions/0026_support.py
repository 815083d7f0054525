"""Which programs can work on these tables: a program that is older than they are looks here."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program does not know of it; ``apply`` writes the row."""
    op.create_table(
        "schema_support",
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name="pk_schema_support"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("schema_support")
