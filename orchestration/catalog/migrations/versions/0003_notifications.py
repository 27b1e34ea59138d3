"""Recipients, and the outbox of notifications. Jobs that have ended by now count as told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recipients",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("audience_id", sa.String(length=26), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("address", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_recipients_tenant_tenants")),
        sa.PrimaryKeyConstraint("tenant", "audience_id", "channel", "address", name=op.f("pk_recipients")),
    )
    op.create_table(
        "notifications",
        sa.Column("notification_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("address", sa.String(length=2000), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=True),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("notification_id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_subject"), "notifications", ["subject"])
    op.create_index(op.f("ix_notifications_next_attempt_at_ms"), "notifications", ["next_attempt_at_ms"])
    op.execute(
        """
        INSERT INTO notifications (notification_id, subject, outcome, channel, address, body, attempts, created_at_ms,
                                   delivered_at_ms)
        SELECT job_id, job_id, 'before', 'log', '', '{}', 0, finished_at_ms, finished_at_ms
        FROM jobs WHERE finished_at_ms IS NOT NULL
        """
    )


def downgrade() -> None:
    op.drop_table("notifications")
    op.drop_table("recipients")
