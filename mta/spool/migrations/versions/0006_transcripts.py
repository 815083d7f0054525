"""What was said in attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "transcripts",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_transcripts_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("message_id", "started_ms", "first", name=op.f("pk_transcripts")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_transcripts_ended_ms"), "transcripts", ["ended_ms"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("transcripts")
