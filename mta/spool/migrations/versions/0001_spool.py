"""The spool as it begins."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "accounts",
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("iterations", sa.Integer(), nullable=False),
        sa.Column("stored_key", sa.LargeBinary(), nullable=False),
        sa.Column("server_key", sa.LargeBinary(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("login", name=op.f("pk_accounts")),
    )
    op.create_table(
        "arriving",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_arriving")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chunks",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_chunks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("eight_bit", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("listener", sa.Text(), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("tls", sa.Text(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('mail', 'dsn')", name=op.f("ck_messages_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_messages_finished",
        "messages",
        ["finished_ms"],
        sqlite_where=sa.text("finished_ms IS NOT NULL"),
        postgresql_where=sa.text("finished_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_message_id",
        "messages",
        ["message_id"],
        sqlite_where=sa.text("message_id <> ''"),
        postgresql_where=sa.text("message_id <> ''"),
    )
    op.create_index(
        "ix_messages_parent",
        "messages",
        ["parent"],
        sqlite_where=sa.text("parent IS NOT NULL"),
        postgresql_where=sa.text("parent IS NOT NULL"),
    )
    op.create_table(
        "nodes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_nodes")),
        sa.UniqueConstraint("token", name=op.f("uq_nodes_token")),
    )
    op.create_table(
        "wakeups",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wakeups")),
    )
    op.create_table(
        "attempts",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("enhanced", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("maybe_delivered", sa.Boolean(), nullable=False),
        sa.Column("connect_s", sa.Float(), nullable=False),
        sa.Column("transmit_s", sa.Float(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("use", sa.Integer(), nullable=False),
        sa.Column("tls_level", sa.Text(), nullable=False),
        sa.Column("tls_version", sa.Text(), nullable=False),
        sa.Column("tls_cipher", sa.Text(), nullable=False),
        sa.Column("tls_why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attempts_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("message_id", "recipient", "attempt", name=op.f("pk_attempts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Integer(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_events_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_message_id"), "events", ["message_id"])
    op.create_table(
        "recipients",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("warned", sa.Boolean(), nullable=False),
        sa.Column("last_code", sa.Integer(), nullable=False),
        sa.Column("last_enhanced", sa.Text(), nullable=False),
        sa.Column("last_text", sa.Text(), nullable=False),
        sa.Column("last_host", sa.Text(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'held', 'delivered', 'bounced', 'expired', 'removed')",
            name=op.f("ck_recipients_state"),
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_recipients_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_recipients")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_recipients_claim",
        "recipients",
        ["claim"],
        sqlite_where=sa.text("claim IS NOT NULL"),
        postgresql_where=sa.text("claim IS NOT NULL"),
    )
    op.create_index(
        "ix_recipients_due",
        "recipients",
        ["next_attempt_ms", "domain", "message_id", "number"],
        sqlite_where=sa.text("state = 'queued' AND claim IS NULL"),
        postgresql_where=sa.text("state = 'queued' AND claim IS NULL"),
    )
    op.create_index(
        "ix_recipients_waiting",
        "recipients",
        ["message_id", "number"],
        sqlite_where=sa.text("state IN ('queued', 'held')"),
        postgresql_where=sa.text("state IN ('queued', 'held')"),
    )
    op.create_index("ix_recipients_address", "recipients", [sa.text("lower(address)")])
    op.execute("INSERT INTO wakeups (id, counter) VALUES (1, 0)")


def downgrade() -> None:
    """Go back."""
    op.drop_table("recipients")
    op.drop_table("events")
    op.drop_table("attempts")
    op.drop_table("wakeups")
    op.drop_table("nodes")
    op.drop_table("messages")
    op.drop_table("chunks")
    op.drop_table("arriving")
    op.drop_table("accounts")
