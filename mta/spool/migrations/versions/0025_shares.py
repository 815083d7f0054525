"""What processes share of a site's limits: connections, and deliveries in a second or an hour."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs keeps to the limits by itself."""
    op.create_table(
        "site_shares",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        *(sa.Column(n, sa.Integer(), nullable=False) for n in ("connections", "wanted", "begins")),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("allowed", sa.Integer(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "token", name="pk_site_shares"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_site_shares_seen_ms", "site_shares", ["seen_ms"])
    op.create_table(
        "site_paces",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("keep_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "seconds", "slot", name="pk_site_paces"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_site_paces_keep_until_ms", "site_paces", ["keep_until_ms"])


def downgrade() -> None:
    """Go back: each process counts for itself."""
    op.drop_table("site_paces")
    op.drop_table("site_shares")
