"""Until when the processes of a part are held, whatever the work."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wanted_counts", sa.Column("held_until_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("wanted_counts") as batch_op:
        batch_op.drop_column("held_until_ms")
