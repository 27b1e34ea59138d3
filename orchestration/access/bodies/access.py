"""Bodies of requests about principals, grants, tokens and tenants."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import Id, Name, ResourceName, Role, Shape, TenantName
from orchestration.records.access import PrincipalKind
from orchestration.records.fields import EXAMPLE_ID, Example

Roles = Annotated[list[Role], Field(max_length=10)]


class NewPrincipal(Shape):
    """A principal to create; it has no roles yet."""

    name: Name
    kind: PrincipalKind
    example: ClassVar[Example] = {"kind": "service", "name": "nightly loader"}


class NewTenant(Shape):
    """A tenant to create."""

    tenant: ResourceName
    example: ClassVar[Example] = {"tenant": "acme"}


class WantedGrant(Shape):
    """All roles of a principal in the scope."""

    principal: Id
    roles: Roles


class WantedGrants(Shape):
    """All roles in a scope; roles that are not listed are taken away."""

    items: Annotated[list[WantedGrant], Field(max_length=1000)]
    example: ClassVar[Example] = {"items": [{"principal": EXAMPLE_ID, "roles": ["admin"]}]}


class NewTenantToken(Shape):
    """A token that reaches one tenant. `principal`: a service account of the tenant; the caller without it."""

    name: Name
    roles: Roles
    days: int | None = None
    principal: Id | None = None
    example: ClassVar[Example] = {"name": "nightly loader", "roles": ["operator"], "days": 90}


class NewToken(Shape):
    """A token of the caller, limited to these roles in the deployment and in tenants."""

    name: Name
    deployment: Roles = Field(default_factory=list)
    tenants: Annotated[dict[TenantName, Roles], Field(max_length=100)] = Field(default_factory=dict)
    days: int | None = None
    example: ClassVar[Example] = {"name": "laptop", "tenants": {"acme": ["analyst"]}, "days": 30}


class LoginCode(Shape):
    """The code of a login in a browser, and the verifier of the challenge that the login began with (RFC 7636)."""

    code: Annotated[str, Field(max_length=100)]
    verifier: Annotated[str, Field(max_length=128)]
    example: ClassVar[Example] = {"code": "x" * 43, "verifier": "x" * 43}
