"""Sessions, one-time codes, identities of a provider and the roles of its groups; when tokens were last used."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(length=26), nullable=False),
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=26), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_sessions_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_sessions_digest")),
    )
    op.create_index(op.f("ix_sessions_principal_id"), "sessions", ["principal_id"])
    op.create_index(op.f("ix_sessions_expires_at_ms"), "sessions", ["expires_at_ms"])
    op.create_table(
        "one_time_codes",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_one_time_codes")),
    )
    op.create_index(op.f("ix_one_time_codes_expires_at_ms"), "one_time_codes", ["expires_at_ms"])
    op.create_table(
        "external_identities",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.principal_id"],
            name=op.f("fk_external_identities_principal_id_principals"),
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_external_identities")),
        sa.UniqueConstraint("principal_id", name=op.f("uq_external_identities_principal_id")),
    )
    op.create_table(
        "group_grants",
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("granted_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_group_grants_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("principal_id", "scope", "role", name=op.f("pk_group_grants")),
    )
    op.add_column("audit", sa.Column("session", sa.String(length=26), nullable=True))
    op.add_column("api_tokens", sa.Column("used_at_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_tokens", "used_at_ms")
    op.drop_column("audit", "session")
    for table in ("group_grants", "external_identities", "one_time_codes", "sessions"):
        op.drop_table(table)
