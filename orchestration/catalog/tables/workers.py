"""Wanted workers, groups of workers over time, and what became of dead letters."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import JSON, NAME, metadata

# Parts whose count follows the work (`segmentation.scaling`), and the count that their service was last given.
wanted_counts: Final = sa.Table(
    "wanted_counts",
    metadata,
    sa.Column("part", sa.String(16), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    # When so many were last needed, and when any was; 0: never.
    sa.Column("needed_ms", sa.BigInteger, nullable=False),
    sa.Column("worked_ms", sa.BigInteger, nullable=False),
    # None: the count was decided, and nobody has said yet that its service has it.
    sa.Column("applied_ms", sa.BigInteger, nullable=True),
    # Until then no process is wanted, whatever the work. None: it is not held.
    sa.Column("held_until_ms", sa.BigInteger, nullable=True),
)

# Lag and members of the groups of workers over time, every ten seconds for a day. What was not measured has no row.
samples: Final = sa.Table(
    "samples",
    metadata,
    sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("group_name", NAME, primary_key=True),
    sa.Column("topic", NAME, primary_key=True),
    sa.Column("members", sa.Integer, nullable=False),
    # Sums over all partitions: messages not acknowledged, acknowledged ever, sent ever.
    sa.Column("lag", sa.BigInteger, nullable=False),
    sa.Column("acknowledged", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.BigInteger, nullable=False),
)

# The groups of workers at the time of the newest samples: `workers` as `operations.workers` lists them, `lag` by topic
# and partition.
worker_groups: Final = sa.Table(
    "worker_groups",
    metadata,
    sa.Column("group_name", NAME, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("workers", JSON, nullable=False),
    sa.Column("lag", JSON, nullable=False),
)

# Dead letters that were replayed or dismissed; all others have no row. A recreated topic has another id, so its letters
# inherit nothing. `sent_*`: where the replayed record is.
dead_letter_marks: Final = sa.Table(
    "dead_letter_marks",
    metadata,
    sa.Column("topic_id", NAME, primary_key=True),
    sa.Column("dead_letter", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("sent_topic", sa.String(255)),
    sa.Column("sent_partition", sa.Integer),
    sa.Column("sent_offset", sa.BigInteger),
)
