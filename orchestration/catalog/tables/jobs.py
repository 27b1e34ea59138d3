"""Import jobs, their history and progress."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, metadata

jobs: Final = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    # Untrusted text, stored as received: a job for an unknown tenant or a bad name is a FAILED job, and is listed.
    sa.Column("tenant", sa.String(255), nullable=False),
    sa.Column("audience", sa.String(255), nullable=False),
    sa.Column("audience_id", ID, nullable=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("partitions", sa.Integer, nullable=False),
    sa.Column("spec", JSON, nullable=False),
    sa.Column("source", JSON, nullable=False),
    sa.Column("small", sa.Boolean, nullable=False),
    sa.Column("order_key", sa.String(255), nullable=False),
    sa.Column("dedupe_key", sa.String(64), nullable=False, index=True),
    sa.Column("execution", sa.String(255), nullable=True, index=True),
    sa.Column("task_token", sa.Text, nullable=True),
    sa.Column("evidence", JSON, nullable=True),
    sa.Column("build", JSON, nullable=True),
    sa.Column("outcome", JSON, nullable=True),
    sa.Column("error", JSON, nullable=True),
    sa.Column("task_error", JSON, nullable=True),
    sa.Column("failed_in", sa.String(16), nullable=True),
    sa.Column("retry_of", ID, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_at_ms", sa.BigInteger, nullable=True),
    sa.Column("swept_at_ms", sa.BigInteger, nullable=True),
)

job_uploads: Final = sa.Table(  # that a job with several files reads
    "job_uploads",
    metadata,
    sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id"), primary_key=True),
    sa.Column("upload_id", ID, primary_key=True, index=True),
)

claims: Final = sa.Table(
    "claims",
    metadata,
    sa.Column("dedupe_key", sa.String(64), primary_key=True),
    sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id"), nullable=False),
)

duplicates: Final = sa.Table(
    "duplicates",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("twin", ID, sa.ForeignKey("jobs.job_id"), nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

transitions: Final = sa.Table(
    "transitions",
    metadata,
    sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("announced", sa.Boolean, nullable=False, index=True),
)

attempts: Final = sa.Table(
    "attempts",
    metadata,
    sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
    sa.Column("report", JSON, nullable=True),
)

partition_progress: Final = sa.Table(
    "partition_progress",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("materialised", sa.Boolean, nullable=False),
    sa.Column("record", JSON, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

stage_progress: Final = sa.Table(
    "stage_progress",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("stage", sa.String(16), primary_key=True),
    sa.Column("record", JSON, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

receipts: Final = sa.Table(
    "receipts",
    metadata,
    sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id"), primary_key=True),
    sa.Column("record", JSON, nullable=False),
)
