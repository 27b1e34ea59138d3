"""The policy: one frozen table of actions and the roles that may take them. Roles add up; nothing else grants rights.

docs/access.md shows the same table; a test compares them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from schemas.ids import TenantName

DEPLOYMENT: Final = ""
"""The scope of deployment roles. All other scopes are names of tenants, which are never empty."""
TENANT_ROLES: Final = ("viewer", "analyst", "operator", "engineer", "admin")
DEPLOYMENT_ROLES: Final = ("operator", "admin")
ADMIN: Final = "admin"
Scope = str
Role = str


class Action(StrEnum):
    """What a principal can be allowed to do. The value is the action's name in the API."""

    OWN_ACCOUNT = "own_account"
    READ_JOBS = "read_jobs"
    READ = "read"
    READ_USERS = "read_users"
    READ_REJECTS = "read_rejects"
    WRITE_SEGMENTS = "write_segments"
    RUN_JOBS = "run_jobs"
    MANAGE_AUDIENCES = "manage_audiences"
    MANAGE_ACCESS = "manage_access"
    READ_DEPLOYMENT = "read_deployment"
    READ_PAYLOADS = "read_payloads"
    MANAGE_DEPLOYMENT = "manage_deployment"

    @property
    def covers(self) -> str:
        """What the action covers, as in docs/access.md."""
        return _COVERS[self]


_COVERS: Final = MappingProxyType(
    {
        Action.OWN_ACCOUNT: "own account: identity, own tokens",
        Action.READ_JOBS: "read jobs, receipts",
        Action.READ: "read audiences, versions, segments, schedules, counts",
        Action.READ_USERS: "users: samples, explain, lookup, SQL, differences' ids",
        Action.READ_REJECTS: "rejects",
        Action.WRITE_SEGMENTS: "segments: create, edit, pause, delete",
        Action.RUN_JOBS: "uploads, imports, exports, snapshots, feeds, cancel, retry, rollback, pin, schedules",
        Action.MANAGE_AUDIENCES: "audiences: create, configure, rename, delete, compact, expire; recipients; consent",
        Action.MANAGE_ACCESS: "grants, tokens of others, audit",
        Action.READ_DEPLOYMENT: "workers, lag, dead letters, notifications",
        Action.READ_PAYLOADS: "dead letters as a whole, which show users",
        Action.MANAGE_DEPLOYMENT: "tenants, principals, places",
    }
)


def _roles(*names: Role) -> frozenset[Role]:
    return frozenset(names)


IN_A_TENANT: Final[Mapping[Action, frozenset[Role]]] = MappingProxyType(
    {
        Action.OWN_ACCOUNT: _roles("viewer", "analyst", "operator", "engineer", "admin"),
        Action.READ_JOBS: _roles("viewer", "analyst", "operator", "engineer", "admin"),
        Action.READ: _roles("viewer", "analyst", "operator", "engineer", "admin"),
        Action.READ_USERS: _roles("analyst", "engineer", "admin"),
        Action.READ_REJECTS: _roles("analyst", "operator", "engineer", "admin"),
        Action.WRITE_SEGMENTS: _roles("analyst", "engineer", "admin"),
        Action.RUN_JOBS: _roles("operator", "engineer", "admin"),
        Action.MANAGE_AUDIENCES: _roles("engineer", "admin"),
        Action.MANAGE_ACCESS: _roles("admin"),
    }
)
"""Tenant roles that may take an action in their tenant."""
IN_EVERY_TENANT: Final[Mapping[Action, frozenset[Role]]] = MappingProxyType(
    {action: _roles("operator", "admin") if action is Action.READ_JOBS else _roles("admin") for action in IN_A_TENANT}
)
"""Deployment roles that may take an action in every tenant: operators see jobs, which show no users."""
IN_THE_DEPLOYMENT: Final[Mapping[Action, frozenset[Role]]] = MappingProxyType(
    {
        Action.OWN_ACCOUNT: _roles("operator", "admin"),
        Action.READ_DEPLOYMENT: _roles("operator", "admin"),
        Action.READ_PAYLOADS: _roles("admin"),
        Action.MANAGE_ACCESS: _roles("admin"),
        Action.MANAGE_DEPLOYMENT: _roles("admin"),
    }
)
"""Deployment roles that may take an action on the deployment itself. Everyone has OWN_ACCOUNT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The actions that a principal may take: on the deployment, in every tenant, and in single tenants."""

    deployment: frozenset[Action] = frozenset()
    everywhere: frozenset[Action] = frozenset()
    tenants: Mapping[TenantName, frozenset[Action]] = field(default_factory=dict)

    @classmethod
    def of(cls, roles: Iterable[tuple[Scope, Role]]) -> Self:
        """The sum of the rights of roles, each in its scope. Unknown roles, of a later release, grant nothing."""
        given = frozenset(roles)
        at_deployment = {role for scope, role in given if scope == DEPLOYMENT}
        scopes = {scope for scope, _ in given if scope != DEPLOYMENT}
        return cls(
            deployment=_allowed(IN_THE_DEPLOYMENT, at_deployment) | {Action.OWN_ACCOUNT},
            everywhere=_allowed(IN_EVERY_TENANT, at_deployment),
            tenants=MappingProxyType(
                {
                    TenantName(scope): _allowed(IN_A_TENANT, {role for one, role in given if one == scope})
                    for scope in sorted(scopes)
                }
            ),
        )

    def in_tenant(self, tenant: TenantName) -> frozenset[Action]:
        """Actions allowed in a tenant. Empty: the principal must not learn whether the tenant exists."""
        return self.everywhere | self.tenants.get(tenant, frozenset())

    def within(self, limit: "Rights") -> "Rights":
        """The rights that both have."""
        return Rights(
            deployment=self.deployment & limit.deployment,
            everywhere=self.everywhere & limit.everywhere,
            tenants=MappingProxyType(
                {
                    tenant: both
                    for tenant in sorted({*self.tenants, *limit.tenants})
                    if (both := self.in_tenant(tenant) & limit.in_tenant(tenant))
                }
            ),
        )

    def exceed(self, limit: "Rights") -> bool:
        """True if these include a right that `limit` lacks."""
        return (
            not self.deployment <= limit.deployment
            or not self.everywhere <= limit.everywhere
            or any(not actions <= limit.in_tenant(tenant) for tenant, actions in self.tenants.items())
        )


def known_role(scope: Scope, role: Role) -> bool:
    """Whether a scope has the role."""
    return role in (DEPLOYMENT_ROLES if scope == DEPLOYMENT else TENANT_ROLES)


def _allowed(table: Mapping[Action, frozenset[Role]], roles: Iterable[Role]) -> frozenset[Action]:
    held = frozenset(roles)
    return frozenset(action for action, allowed in table.items() if allowed & held)
