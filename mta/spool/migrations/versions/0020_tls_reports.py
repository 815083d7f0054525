"""TLS sessions counted by day, and the reports on them."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def upgrade() -> None:
    """Go forward: an older program that still runs counts nothing."""
    op.create_table(
        "tls_sessions",
        sa.Column("day", sa.Integer(), nullable=False),
        *_text("domain", "digest", "kind", "policy", "result", "details"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "domain", "digest", name=op.f("pk_tls_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tls_reports",
        sa.Column("day", sa.Integer(), nullable=False),
        *_text("domain", "report_id", "state"),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        *_text("ways", "text", "queue_id"),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("claim_until_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('due', 'sent', 'none', 'failed', 'planned')",
            name=op.f("ck_tls_reports_state"),
        ),
        sa.PrimaryKeyConstraint("day", "domain", name=op.f("pk_tls_reports")),
        sqlite_with_rowid=False,
    )
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_tls_reports_due", "tls_reports", ["next_ms"], sqlite_where=due, postgresql_where=due
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("tls_reports")
    op.drop_table("tls_sessions")
