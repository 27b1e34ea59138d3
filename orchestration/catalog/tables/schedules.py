"""Recurring imports, exports and snapshots."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

schedules: Final = sa.Table(
    "schedules",
    metadata,
    sa.Column("schedule_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("expression", sa.String(256), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("request", JSON, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # None: never due again.
    sa.Column("next_due_ms", sa.BigInteger, nullable=True, index=True),
    # Why the due run could not be started so far.
    sa.Column("trouble", JSON, nullable=True),
    sa.Column("last_due_ms", sa.BigInteger, nullable=True),
    sa.Column("last_execution", sa.String(255), nullable=True),
    # None: the workflow was started, and its outcome is not known yet.
    sa.Column("last_outcome", JSON, nullable=True),
    sa.UniqueConstraint("tenant", "name"),
)
