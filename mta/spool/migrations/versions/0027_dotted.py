"""The final dot is written down before it is sent, where a route wants to know after a crash."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program does not look, and tries again what a crash has left."""
    op.add_column("recipients", sa.Column("dotted_ms", sa.BigInteger()))
    op.add_column("recipients", sa.Column("dotted_to", sa.Text()))


def downgrade() -> None:
    """Go back: what is in doubt is tried again."""
    op.drop_column("recipients", "dotted_to")
    op.drop_column("recipients", "dotted_ms")
