"""What senders ask for: reports, a later release, a deadline, a priority.

The index of what is due begins with the urgency now.  Programs of the revision before go on
working beside this one; until they are restarted their claims are made without an index.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DUE = "state = 'queued' AND claim IS NULL"


def _messages() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("ret", sa.Text(), nullable=False, server_default=""),
        sa.Column("envid", sa.Text(), nullable=False, server_default=""),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("release_ms", sa.BigInteger(), nullable=True),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=True),
        sa.Column("deadline_mode", sa.Text(), nullable=False, server_default=""),
    )


def _recipients() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("notify", sa.Text(), nullable=False, server_default=""),
        sa.Column("orcpt", sa.Text(), nullable=False, server_default=""),
        sa.Column("urgency", sa.Integer(), nullable=False, server_default="0"),
    )


def upgrade() -> None:
    """Go forward."""
    for table, columns in (("messages", _messages()), ("recipients", _recipients())):
        for column in columns:
            op.add_column(table, column)
    op.create_index(
        "ix_recipients_turn",
        "recipients",
        ["urgency", "next_attempt_ms", "domain", "message_id", "number"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    op.drop_index("ix_recipients_due", "recipients")


def downgrade() -> None:
    """Go back."""
    op.create_index(
        "ix_recipients_due",
        "recipients",
        ["next_attempt_ms", "domain", "message_id", "number"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    op.drop_index("ix_recipients_turn", "recipients")
    for table, columns in (("recipients", _recipients()), ("messages", _messages())):
        for column in columns:
            op.drop_column(table, column.name)
