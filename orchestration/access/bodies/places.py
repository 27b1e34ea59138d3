"""Bodies of requests about places of tenants."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import ResourceName, Shape
from orchestration.records.fields import Example

Place = Annotated[
    str, Field(max_length=1024, description="s3://bucket/prefix/, kafka://TOPIC, profile:NAME, or * for all.")
]


class TenantPlaces(Shape):
    """Addresses that a tenant may read from and write to, beyond its uploads, inbox and downloads."""

    tenant: ResourceName
    places: Annotated[list[Place], Field(max_length=1000)]


class Places(Shape):
    """The places of all tenants, by name. In a change, omitted tenants get none."""

    items: Annotated[list[TenantPlaces], Field(max_length=10_000)]
    example: ClassVar[Example] = {"items": [{"tenant": "acme", "places": ["s3://crm/acme/", "kafka://acme-vip"]}]}
