"""Consent policies of tenants: which lists are left out of exports."""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables.base import JSON, NAME, metadata

# Each change is a row of its own: a manifest names the policy under which its export ran.
consent_policies: Final = sa.Table(
    "consent_policies",
    metadata,
    sa.Column("tenant", NAME, sa.ForeignKey("tenants.name"), primary_key=True),
    sa.Column("policy", sa.Integer, primary_key=True, autoincrement=False),
    # Records of `StandingList`.
    sa.Column("lists", JSON, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)
