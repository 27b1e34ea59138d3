"""Segments, their rules, and what workers say of them."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

segments: Final = sa.Table(
    "segments",
    metadata,
    sa.Column("segment_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False),
    sa.Column("name", NAME, nullable=False),
    # A deleted segment keeps its row: a new segment of that name continues its rule versions.
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("rule_version", sa.Integer, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant", "name"),
)

segment_rules: Final = sa.Table(
    "segment_rules",
    metadata,
    sa.Column("segment_id", ID, sa.ForeignKey("segments.segment_id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("timezone", sa.String(64), nullable=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

# Latest status from the workers for each partition of a segment.
segment_partitions: Final = sa.Table(
    "segment_partitions",
    metadata,
    sa.Column("segment_id", ID, sa.ForeignKey("segments.segment_id"), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("partitions", sa.Integer, nullable=False),
    sa.Column("rule_version", sa.Integer, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("members", sa.BigInteger, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("profiles", sa.BigInteger, nullable=False),
    sa.Column("activations", sa.BigInteger, nullable=False),
)

# How many members a segment had at the last complete report of each hour.
segment_sizes: Final = sa.Table(
    "segment_sizes",
    metadata,
    sa.Column("segment_id", ID, sa.ForeignKey("segments.segment_id"), primary_key=True),
    sa.Column("hour_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("members", sa.BigInteger, nullable=False),
    sa.Column("rule_version", sa.Integer, nullable=False),
)

# Activations for the workers, in order per tenant.
activations: Final = sa.Table(
    "activations",
    metadata,
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("segment_id", ID, sa.ForeignKey("segments.segment_id"), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("rule_version", sa.Integer, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # None: not in all partitions yet.
    sa.Column("sent_at_ms", sa.BigInteger, nullable=True, index=True),
    # Its offset in each partition.
    sa.Column("offsets", JSON, nullable=True),
)
