"""What aliases have made of recipients, and the sender that an attempt was made with."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = ("given", "sender", "role")
_GIVEN = sa.text("given <> ''")


def upgrade() -> None:
    """Go forward: an older program that still runs leaves the new columns at their default."""
    for name in _COLUMNS:
        op.add_column("recipients", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("sender", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "ix_recipients_given",
        "recipients",
        [sa.text("lower(given)")],
        sqlite_where=_GIVEN,
        postgresql_where=_GIVEN,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_recipients_given", "recipients")
    op.drop_column("attempts", "sender")
    for name in _COLUMNS:
        op.drop_column("recipients", name)
