"""Suspensions and throttles, and which recipients wait for them."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward: an older program that still runs knows of no restraint, and dials."""
    op.create_table(
        "restraints",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in (
                "verb", "scope", "name", "site_key", "source", "cause", "rule", "reason", "samples",
            )
        ),
        sa.Column("was", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("step_ms", sa.BigInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger()),
        sa.Column("ended_ms", sa.BigInteger()),
        sa.Column("ended_by", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("expires", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_restraints"),
    )  # fmt: skip
    where = "ended_ms IS NULL"
    op.create_index(
        "ix_restraints_open",
        "restraints",
        ["id"],
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
    op.add_column("recipients", sa.Column("restraint", sa.BigInteger()))
    where = "restraint IS NOT NULL"
    op.create_index(
        "ix_recipients_restraint",
        "recipients",
        ["restraint"],
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
    op.add_column(
        "wakeups", sa.Column("restraints", sa.BigInteger(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Go back: what waited for a restraint is due when it was to be."""
    op.drop_column("wakeups", "restraints")
    op.drop_index("ix_recipients_restraint", "recipients")
    op.drop_column("recipients", "restraint")
    op.drop_table("restraints")
