"""Lag and members of the groups of workers, over time and now."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("at_ms", "group_name", "topic", name=op.f("pk_samples")),
    )
    op.create_table(
        "worker_groups",
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("workers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("lag", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("group_name", name=op.f("pk_worker_groups")),
    )


def downgrade() -> None:
    op.drop_table("worker_groups")
    op.drop_table("samples")
