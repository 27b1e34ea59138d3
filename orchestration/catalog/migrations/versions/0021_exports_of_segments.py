"""The snapshot that an export of a segment waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exports", sa.Column("snapshot", sa.String(length=26), nullable=True))
    op.add_column("exports", sa.Column("task_token", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("exports") as batch_op:
        batch_op.drop_column("task_token")
        batch_op.drop_column("snapshot")
