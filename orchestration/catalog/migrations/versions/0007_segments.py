"""Segments, their rules, what workers are to be told of them, and what workers say."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "segments",
        sa.Column("segment_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_segments_tenant_tenants")),
        sa.PrimaryKeyConstraint("segment_id", name=op.f("pk_segments")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_segments_tenant_name")),
    )
    op.create_table(
        "segment_rules",
        sa.Column("segment_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segments.segment_id"], name=op.f("fk_segment_rules_segment_id_segments")
        ),
        sa.PrimaryKeyConstraint("segment_id", "version", name=op.f("pk_segment_rules")),
    )
    op.create_table(
        "segment_partitions",
        sa.Column("segment_id", sa.String(length=26), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("members", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("profiles", sa.BigInteger(), nullable=False),
        sa.Column("activations", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segments.segment_id"], name=op.f("fk_segment_partitions_segment_id_segments")
        ),
        sa.PrimaryKeyConstraint("segment_id", "partition", name=op.f("pk_segment_partitions")),
    )
    op.create_table(
        "activations",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("segment_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("offsets", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_activations_tenant_tenants")),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segments.segment_id"], name=op.f("fk_activations_segment_id_segments")
        ),
        sa.PrimaryKeyConstraint("tenant", "sequence", name=op.f("pk_activations")),
    )
    op.create_index(op.f("ix_activations_segment_id"), "activations", ["segment_id"])
    op.create_index(op.f("ix_activations_sent_at_ms"), "activations", ["sent_at_ms"])
    op.create_table(
        "activated_audiences",
        sa.Column("audience_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("earlier", sa.Integer(), nullable=True),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audience_id"], ["audiences.audience_id"], name=op.f("fk_activated_audiences_audience_id_audiences")
        ),
        sa.PrimaryKeyConstraint("audience_id", name=op.f("pk_activated_audiences")),
    )


def downgrade() -> None:
    op.drop_table("activated_audiences")
    op.drop_table("activations")
    op.drop_table("segment_partitions")
    op.drop_table("segment_rules")
    op.drop_table("segments")
