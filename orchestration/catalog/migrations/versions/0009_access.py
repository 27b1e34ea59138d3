"""Principals, their grants and tokens; the audit trail says which tenant, and who called with which token."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AUDIT_COLUMNS = {"tenant": 255, "principal": 26, "token": 26, "request_id": 26}
INDEXED = ("tenant", "principal")


def upgrade() -> None:
    op.create_table(
        "principals",
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_principals")),
        sa.UniqueConstraint("name", name=op.f("uq_principals_name")),
    )
    op.create_table(
        "grants",
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("granted_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_grants_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("principal_id", "scope", "role", name=op.f("pk_grants")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("token_id", sa.String(length=26), nullable=False),
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_api_tokens_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_api_tokens")),
    )
    op.create_index(op.f("ix_api_tokens_principal_id"), "api_tokens", ["principal_id"])
    op.create_table(
        "token_caps",
        sa.Column("token_id", sa.String(length=26), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.token_id"], name=op.f("fk_token_caps_token_id_api_tokens")),
        sa.PrimaryKeyConstraint("token_id", "scope", "role", name=op.f("pk_token_caps")),
    )
    op.create_index(op.f("ix_token_caps_scope"), "token_caps", ["scope"])
    for name, length in AUDIT_COLUMNS.items():
        op.add_column("audit", sa.Column(name, sa.String(length=length), nullable=True))
    for name in INDEXED:
        op.create_index(op.f(f"ix_audit_{name}"), "audit", [name])


def downgrade() -> None:
    for name in INDEXED:
        op.drop_index(op.f(f"ix_audit_{name}"), "audit")
    for name in AUDIT_COLUMNS:
        op.drop_column("audit", name)
    for table in ("token_caps", "api_tokens", "grants", "principals"):
        op.drop_table(table)
