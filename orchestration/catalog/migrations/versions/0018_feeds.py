"""Feeds, which deliver who enters and leaves a segment."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feeds",
        sa.Column("feed_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=1024), nullable=False),
        sa.Column("shape", sa.String(length=8), nullable=False),
        sa.Column("start", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("key_number", sa.Integer(), nullable=False),
        sa.Column("both_keys_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.String(length=64), nullable=True),
        sa.Column("positions", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cut", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("behind", sa.BigInteger(), nullable=True),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("trouble_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("holder", sa.String(length=255), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_feeds_tenant_tenants")),
        sa.PrimaryKeyConstraint("feed_id", name=op.f("pk_feeds")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_feeds_tenant_name")),
    )
    op.create_index(op.f("ix_feeds_segment"), "feeds", ["segment"])
    op.create_index(op.f("ix_feeds_target"), "feeds", ["target"])


def downgrade() -> None:
    op.drop_table("feeds")
