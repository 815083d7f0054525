"""Views for other programs; ``mta.spool.views`` makes them after the last revision."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: nothing but the views."""


def downgrade() -> None:
    """Go back: they have been taken away."""
