"""Exports, their history and the groups of files that they write."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, metadata

exports: Final = sa.Table(
    "exports",
    metadata,
    sa.Column("export_id", ID, primary_key=True),
    # Untrusted text, as in `jobs`.
    sa.Column("tenant", sa.String(255), nullable=False),
    sa.Column("audience", sa.String(255), nullable=False),
    sa.Column("audience_id", ID, nullable=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("request", JSON, nullable=False),
    # The versions it holds in the lake: [{audience_id, tenant, audience, version}].
    sa.Column("held", JSON, nullable=False),
    # P of the destination topic; None before the plan, and for files.
    # The job that makes the version of an export of a segment.
    sa.Column("snapshot", ID, nullable=True),
    sa.Column("task_token", sa.Text, nullable=True),
    sa.Column("topic_partitions", sa.Integer, nullable=True),
    sa.Column("execution", sa.String(255), nullable=True, index=True),
    sa.Column("outcome", JSON, nullable=True),
    sa.Column("error", JSON, nullable=True),
    sa.Column("failed_in", sa.String(16), nullable=True),
    sa.Column("retry_of", ID, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_at_ms", sa.BigInteger, nullable=True),
    sa.Column("swept_at_ms", sa.BigInteger, nullable=True),
)

export_transitions: Final = sa.Table(
    "export_transitions",
    metadata,
    sa.Column("export_id", ID, sa.ForeignKey("exports.export_id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cause", sa.Text, nullable=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

export_groups: Final = sa.Table(
    "export_groups",
    metadata,
    sa.Column("export_id", ID, sa.ForeignKey("exports.export_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("expected_rows", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("beat_at_ms", sa.BigInteger, nullable=True),
    # What was written; None before the end.
    sa.Column("record", JSON, nullable=True),
    sa.Column("error", JSON, nullable=True),
)
