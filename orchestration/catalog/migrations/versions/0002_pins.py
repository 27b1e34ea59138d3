"""Versions that retention keeps because somebody asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("audience_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pinned_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["audience_id"], ["audiences.audience_id"], name=op.f("fk_pins_audience_id_audiences")),
        sa.PrimaryKeyConstraint("audience_id", "version", name=op.f("pk_pins")),
    )


def downgrade() -> None:
    op.drop_table("pins")
