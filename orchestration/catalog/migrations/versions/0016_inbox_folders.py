"""Whether each file of an audience's inbox is an import, or each folder with `_SUCCESS`."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audiences", sa.Column("folders", sa.String(length=8), nullable=False, server_default="files"))


def downgrade() -> None:
    with op.batch_alter_table("audiences") as batch_op:
        batch_op.drop_column("folders")
