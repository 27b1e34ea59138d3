"""Idempotency keys, uploads, operations, places: tenants that exist keep every place, as before."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

EVERYWHERE = "*"


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=26), nullable=False),
        sa.Column("held_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("principal_id", "tenant", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at_ms"), "idempotency", ["created_at_ms"])
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("content_type", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("multipart", sa.String(length=1024), nullable=True),
        sa.Column("stored", sa.Boolean(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_uploads_tenant_tenants")),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_uploads")),
    )
    for column in ("tenant", "stored", "created_at_ms"):
        op.create_index(op.f(f"ix_uploads_{column}"), "uploads", [column])
    op.create_table(
        "async_operations",
        sa.Column("operation_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("principal_id", sa.String(length=26), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("audience_id", sa.String(length=26), nullable=True),
        sa.Column("audience", sa.String(length=64), nullable=True),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("alive_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_async_operations_tenant_tenants")),
        sa.PrimaryKeyConstraint("operation_id", name=op.f("pk_async_operations")),
    )
    for column in ("tenant", "state", "created_at_ms"):
        op.create_index(op.f(f"ix_async_operations_{column}"), "async_operations", [column])
    places = op.create_table(
        "tenant_places",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=1024), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_tenant_places_tenant_tenants")),
        sa.PrimaryKeyConstraint("tenant", "place", name=op.f("pk_tenant_places")),
    )
    tenants = sa.table("tenants", sa.column("name", sa.String()))
    op.execute(places.insert().from_select(["tenant", "place"], sa.select(tenants.c.name, sa.literal(EVERYWHERE))))


def downgrade() -> None:
    for table in ("tenant_places", "async_operations", "uploads", "idempotency"):
        op.drop_table(table)
