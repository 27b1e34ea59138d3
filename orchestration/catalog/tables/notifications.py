"""Who is notified, and of what."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

recipients: Final = sa.Table(
    "recipients",
    metadata,
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), primary_key=True),
    # Empty: notified about all audiences of the tenant.
    sa.Column("audience_id", ID, primary_key=True),
    sa.Column("channel", sa.String(8), primary_key=True),
    sa.Column("address", sa.String(2000), primary_key=True),
)

notifications: Final = sa.Table(
    "notifications",
    metadata,
    sa.Column("notification_id", sa.String(32), primary_key=True),
    # A job, or the execution that could not register one.
    sa.Column("subject", sa.String(255), nullable=False, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("channel", sa.String(8), nullable=False),
    sa.Column("address", sa.String(2000), nullable=False),
    # The tenant whose key signs; None for operators.
    sa.Column("tenant", NAME, nullable=True),
    sa.Column("body", JSON, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # None: no more attempts.
    sa.Column("next_attempt_at_ms", sa.BigInteger, nullable=True, index=True),
    sa.Column("delivered_at_ms", sa.BigInteger, nullable=True),
    sa.Column("last_error", sa.Text, nullable=True),
)
