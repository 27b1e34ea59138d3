"""Feeds, which deliver who enters and leaves a segment."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

feeds: Final = sa.Table(
    "feeds",
    metadata,
    sa.Column("feed_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False),
    sa.Column("name", NAME, nullable=False),
    # A name: the feed goes on with a segment that is created again.
    sa.Column("segment", NAME, nullable=False, index=True),
    sa.Column("target", sa.String(1024), nullable=False, index=True),
    sa.Column("shape", sa.String(8), nullable=False),
    sa.Column("start", sa.String(8), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    # How often its signing key was replaced.
    sa.Column("key_number", sa.Integer, nullable=False),
    # Until then the key before signs too.
    sa.Column("both_keys_until_ms", sa.BigInteger, nullable=True),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # Counts the beginnings of the feed, from 1.
    sa.Column("epoch", sa.Integer, nullable=False),
    # Of the topic in which `positions` are. None: the feed has still to begin.
    sa.Column("topic_id", sa.String(64), nullable=True),
    sa.Column("positions", JSON, nullable=True),
    # The cut whose members are being sent.
    sa.Column("cut", JSON, nullable=True),
    # What is delivered since the feed was created, and when anything was last.
    sa.Column("delivered", sa.BigInteger, nullable=False),
    sa.Column("delivered_at_ms", sa.BigInteger, nullable=True),
    # Records of the topic that the feed had still to read, at `seen_at_ms`.
    sa.Column("behind", sa.BigInteger, nullable=True),
    sa.Column("seen_at_ms", sa.BigInteger, nullable=True),
    # Why nothing is delivered: an error record. None while all is well.
    sa.Column("trouble", JSON, nullable=True),
    sa.Column("trouble_since_ms", sa.BigInteger, nullable=True),
    # A batch that the receiver has refused for good: its size, and the positions after it.
    sa.Column("refused", JSON, nullable=True),
    # Who delivers it, and until when; the lease is another one each time.
    sa.Column("holder", sa.String(255), nullable=True),
    sa.Column("lease", sa.String(32), nullable=True),
    sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant", "name"),
)
