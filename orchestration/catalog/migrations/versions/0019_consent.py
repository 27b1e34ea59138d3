"""Consent policies of tenants. Tenants that exist have none: their exports stay as they are."""

import sqlalchemy as sa
from alembic import op

from orchestration.catalog.tables.base import JSON

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent_policies",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lists", JSON, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_consent_policies_tenant_tenants")),
        sa.PrimaryKeyConstraint("tenant", "policy", name=op.f("pk_consent_policies")),
    )


def downgrade() -> None:
    op.drop_table("consent_policies")
