"""Tables of the job catalog. Times are milliseconds since 1970 UTC; JSON columns hold the results of `as_record`."""

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NAME: Final = sa.String(64)
ID: Final = sa.String(26)
JSON: Final = sa.JSON(none_as_null=True)

tenants: Final = sa.Table(
    "tenants",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

audiences: Final = sa.Table(
    "audiences",
    metadata,
    sa.Column("audience_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("spec", JSON, nullable=False),
    sa.Column("retention", JSON, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # See `records.AudienceState`.
    sa.Column("state", sa.String(8), nullable=False, server_default="before"),
    sa.UniqueConstraint("tenant", "name"),
)

# How the event and profile files of a tenant are read.
activity_specs: Final = sa.Table(
    "activity_specs",
    metadata,
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), primary_key=True),
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("spec", JSON, nullable=False),
)

pins: Final = sa.Table(
    "pins",
    metadata,
    sa.Column("audience_id", ID, sa.ForeignKey("audiences.audience_id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pinned_at_ms", sa.BigInteger, nullable=False),
)

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

# The version that an audience's name means in rules; retention keeps it, and the one before.
activated_audiences: Final = sa.Table(
    "activated_audiences",
    metadata,
    sa.Column("audience_id", ID, sa.ForeignKey("audiences.audience_id"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("earlier", sa.Integer, nullable=True),
    sa.Column("told", sa.Boolean, nullable=False),
)

# Append only: a trigger from the migration rejects updates and deletes.
audit: Final = sa.Table(
    "audit",
    metadata,
    sa.Column("entry_id", ID, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("object", sa.String(255), nullable=False, index=True),
    sa.Column("job_id", ID, nullable=True, index=True),
    sa.Column("arguments", JSON, nullable=False),
    sa.Column("before", JSON, nullable=True),
    sa.Column("after", JSON, nullable=True),
    sa.Column("error", sa.String(64), nullable=True),
    # None: of the deployment as a whole.
    sa.Column("tenant", sa.String(255), nullable=True, index=True),
    # Who called the service: principal, its token, the request. None for local commands and parts of Muster.
    sa.Column("principal", ID, nullable=True, index=True),
    sa.Column("token", ID, nullable=True),
    sa.Column("request_id", ID, nullable=True),
    # In place of a token: the session of a browser.
    sa.Column("session", ID, nullable=True),
)

# People and service accounts.
principals: Final = sa.Table(
    "principals",
    metadata,
    sa.Column("principal_id", ID, primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

# Roles of principals. `scope`: a tenant, or empty for the deployment.
grants: Final = sa.Table(
    "grants",
    metadata,
    sa.Column("principal_id", ID, sa.ForeignKey("principals.principal_id"), primary_key=True),
    sa.Column("scope", NAME, primary_key=True),
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("granted_at_ms", sa.BigInteger, nullable=False),
)

api_tokens: Final = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("token_id", ID, primary_key=True),
    sa.Column("principal_id", ID, sa.ForeignKey("principals.principal_id"), nullable=False, index=True),
    sa.Column("name", sa.String(100), nullable=False),
    # SHA-256 of the whole token, in hexadecimal.
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_at_ms", sa.BigInteger, nullable=True),
    # When it was last used, at most an hour behind.
    sa.Column("used_at_ms", sa.BigInteger, nullable=True),
)

# The roles that a token is limited to, as in `grants`.
token_caps: Final = sa.Table(
    "token_caps",
    metadata,
    sa.Column("token_id", ID, sa.ForeignKey("api_tokens.token_id"), primary_key=True),
    sa.Column("scope", NAME, primary_key=True, index=True),
    sa.Column("role", sa.String(16), primary_key=True),
)

# Requests that start something: the id that it gets is here before anything starts.
idempotency: Final = sa.Table(
    "idempotency",
    metadata,
    sa.Column("principal_id", ID, primary_key=True),
    sa.Column("tenant", NAME, primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    # SHA-256 of method, path and body, in hexadecimal.
    sa.Column("request", sa.String(64), nullable=False),
    sa.Column("job_id", ID, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False, index=True),
    # The request that is carrying it out, and until when no other one does. `answer` ends it.
    sa.Column("holder", ID, nullable=False),
    sa.Column("held_until_ms", sa.BigInteger, nullable=False),
    # {value} or {error}.
    sa.Column("answer", JSON, nullable=True),
)

# Objects that clients send to the staging bucket by presigned requests.
uploads: Final = sa.Table(
    "uploads",
    metadata,
    sa.Column("upload_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("content_type", sa.String(255), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(1024), nullable=False),
    # Of S3; None: one PUT.
    sa.Column("multipart", sa.String(1024), nullable=True),
    # False: it may be unfinished.
    sa.Column("stored", sa.Boolean, nullable=False, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False, index=True),
)

# What the service answers later than a request can wait: it carries out changes of the lake through the control plane
# (pending), and long questions itself (running). `action`: who may see it; `principal_id`: only that principal, if any.
async_operations: Final = sa.Table(
    "async_operations",
    metadata,
    sa.Column("operation_id", ID, primary_key=True),
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), nullable=False, index=True),
    sa.Column("principal_id", ID, nullable=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("audience_id", ID, nullable=True),
    sa.Column("audience", NAME, nullable=True),
    sa.Column("request", JSON, nullable=False),
    # pending, running, done or failed.
    sa.Column("state", sa.String(8), nullable=False, index=True),
    sa.Column("result", JSON, nullable=True),
    sa.Column("error", JSON, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False, index=True),
    # Later than this, nobody answers a running question any more.
    sa.Column("alive_until_ms", sa.BigInteger, nullable=True),
    sa.Column("finished_at_ms", sa.BigInteger, nullable=True),
)

# Addresses that a tenant may read from and write to beyond its own: see `orchestration.kinds.places`.
tenant_places: Final = sa.Table(
    "tenant_places",
    metadata,
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), primary_key=True),
    sa.Column("place", sa.String(1024), primary_key=True),
)

# Sessions of browsers. `token_id`: the token that it stands for; None: a login, with all rights of its owner. It is no
# foreign key: a session whose token was forgotten has ended.
sessions: Final = sa.Table(
    "sessions",
    metadata,
    sa.Column("session_id", ID, primary_key=True),
    sa.Column("principal_id", ID, sa.ForeignKey("principals.principal_id"), nullable=False, index=True),
    # SHA-256 of the cookie, in hexadecimal.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("token_id", ID, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    # When it was last used, at most five minutes behind.
    sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("revoked_at_ms", sa.BigInteger, nullable=True),
)

# Codes and states of logins under way: each is taken once.
one_time_codes: Final = sa.Table(
    "one_time_codes",
    metadata,
    # SHA-256 of the code, in hexadecimal.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("record", JSON, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
)

# People as an identity provider knows them.
external_identities: Final = sa.Table(
    "external_identities",
    metadata,
    sa.Column("issuer", sa.String(255), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("principal_id", ID, sa.ForeignKey("principals.principal_id"), nullable=False, unique=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

# Roles by the groups that the identity provider named at the last login, as in `grants`; replaced at the next.
group_grants: Final = sa.Table(
    "group_grants",
    metadata,
    sa.Column("principal_id", ID, sa.ForeignKey("principals.principal_id"), primary_key=True),
    sa.Column("scope", NAME, primary_key=True),
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("granted_at_ms", sa.BigInteger, nullable=False),
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
