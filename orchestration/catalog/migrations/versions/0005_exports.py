"""Exports, their history and their groups."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("export_id", sa.String(length=26), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("audience", sa.String(length=255), nullable=False),
        sa.Column("audience_id", sa.String(length=26), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("held", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("topic_partitions", sa.Integer(), nullable=True),
        sa.Column("execution", sa.String(length=255), nullable=True),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("failed_in", sa.String(length=16), nullable=True),
        sa.Column("retry_of", sa.String(length=26), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("swept_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("export_id", name=op.f("pk_exports")),
    )
    for column in ("state", "execution"):
        op.create_index(op.f(f"ix_exports_{column}"), "exports", [column])
    op.create_table(
        "export_transitions",
        sa.Column("export_id", sa.String(length=26), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.export_id"], name=op.f("fk_export_transitions_export_id_exports")
        ),
        sa.PrimaryKeyConstraint("export_id", "sequence", name=op.f("pk_export_transitions")),
    )
    op.create_table(
        "export_groups",
        sa.Column("export_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("expected_rows", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("beat_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("record", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["export_id"], ["exports.export_id"], name=op.f("fk_export_groups_export_id_exports")),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_groups")),
    )


def downgrade() -> None:
    for table in ("export_groups", "export_transitions", "exports"):
        op.drop_table(table)
