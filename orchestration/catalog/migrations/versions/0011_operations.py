"""What the API answers later than a request can wait."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "async_operations",
        sa.Column("operation_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=True),
        sa.Column("principal_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("alive_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id", name=op.f("pk_async_operations")),
    )
    op.create_index(op.f("ix_async_operations_created_at_ms"), "async_operations", ["created_at_ms"])


def downgrade() -> None:
    op.drop_table("async_operations")
