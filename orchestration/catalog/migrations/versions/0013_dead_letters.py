"""Dead letters that were replayed or dismissed."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dead_letter_marks",
        sa.Column("topic_id", sa.String(length=64), nullable=False),
        sa.Column("dead_letter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("sent_topic", sa.String(length=255), nullable=True),
        sa.Column("sent_partition", sa.Integer(), nullable=True),
        sa.Column("sent_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("topic_id", "dead_letter", name=op.f("pk_dead_letter_marks")),
    )


def downgrade() -> None:
    op.drop_table("dead_letter_marks")
