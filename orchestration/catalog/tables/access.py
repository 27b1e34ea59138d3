"""Who has access to the service, and by what; who did what."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

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
