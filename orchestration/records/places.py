"""Places of tenants: what they may name beyond their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from orchestration.records.fields import About, Example

Place = Annotated[str, About("s3://bucket/prefix/, kafka://TOPIC, profile:NAME, or * for all.", max_length=1024)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPlaces:
    """Addresses that a tenant may read from and write to, beyond its uploads, inbox and downloads."""

    tenant: Annotated[str, About(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", max_length=63)]
    places: Annotated[Sequence[Place], About(max_length=1000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The places of all tenants, by name. In a change, omitted tenants get none."""

    items: Annotated[Sequence[TenantPlaces], About(max_length=10_000)]
    revision: ClassVar = ("items",)
    example: ClassVar[Example] = {"items": [{"tenant": "acme", "places": ["s3://crm/acme/", "kafka://acme-vip"]}]}
