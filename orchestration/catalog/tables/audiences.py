"""Tenants, their audiences, and how their files are read."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import ID, JSON, NAME, metadata

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
    sa.Column("folders", sa.String(8), nullable=False, server_default="files"),
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

# The version that an audience's name means in rules; retention keeps it, and the one before.
activated_audiences: Final = sa.Table(
    "activated_audiences",
    metadata,
    sa.Column("audience_id", ID, sa.ForeignKey("audiences.audience_id"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("earlier", sa.Integer, nullable=True),
    sa.Column("told", sa.Boolean, nullable=False),
)
