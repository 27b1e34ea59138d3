"""What the service keeps of requests, and what tenants may name in them."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

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
