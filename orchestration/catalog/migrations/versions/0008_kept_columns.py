"""Whether an audience is awaited, or is from before its columns were kept; and specs of events and profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audiences", sa.Column("state", sa.String(length=8), nullable=False, server_default="before"))
    op.create_table(
        "activity_specs",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("spec", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_activity_specs_tenant_tenants")),
        sa.PrimaryKeyConstraint("tenant", "kind", name=op.f("pk_activity_specs")),
    )


def downgrade() -> None:
    op.drop_table("activity_specs")
    op.execute("DELETE FROM audiences WHERE state = 'awaited'")
    op.drop_column("audiences", "state")
