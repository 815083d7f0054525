"""Authentication: SCRAM-SHA-1 keys, certificates of accounts, the installation's secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("accounts", sa.Column("sha1_salt", sa.LargeBinary(), nullable=True))
    op.add_column("accounts", sa.Column("sha1_iterations", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("sha1_stored_key", sa.LargeBinary(), nullable=True))
    op.add_column("accounts", sa.Column("sha1_server_key", sa.LargeBinary(), nullable=True))
    op.create_table(
        "account_certificates",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('fingerprint', 'name', 'subject')", name=op.f("ck_account_certificates_kind")
        ),
        sa.ForeignKeyConstraint(
            ["login"], ["accounts.login"], name=op.f("fk_account_certificates_login_accounts")
        ),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_account_certificates")),
    )
    op.create_index(op.f("ix_account_certificates_login"), "account_certificates", ["login"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("secrets")
    op.drop_table("account_certificates")
    for column in ("sha1_server_key", "sha1_stored_key", "sha1_iterations", "sha1_salt"):
        op.drop_column("accounts", column)
