"""Changes of grants and tokens, and their limits."""

from collections.abc import Sequence
from typing import Any

import pytest

from orchestration.access.bodies.access import NewTenantToken, NewToken, WantedGrant, WantedGrants
from orchestration.access.grants import DAY_MS
from orchestration.access.policy import ADMIN, DEPLOYMENT
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.tokens import Token
from orchestration.access.views.grants import DeploymentGrants, TenantGrants
from orchestration.access.views.tokens import OwnTokens, TenantTokens
from orchestration.platform.clock import now_ms
from orchestration.records.access import Grants
from schemas.errors import UserError
from schemas.records import as_record
from tests.fakes.tenants import ACME, BETA, World


class Tenant(TenantGrants, TenantTokens):
    """Grants and tokens of a tenant."""


def tenant(world: World, name: str, of: str = ACME) -> Tenant:
    return Tenant(world.services, world.caller(name), of)


def wanted(*grants: tuple[str, list[str]]) -> WantedGrants:
    return WantedGrants(items=[WantedGrant(principal=principal, roles=roles) for principal, roles in grants])


def seen_of(found: Grants) -> Seen:
    return Seen(revision_of(found, Grants.revision))


def refused(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as refusal:
        call(*args, **kwargs)
    return refusal.value.code


def roles(found: Grants) -> dict[str, Sequence[str]]:
    return {one.name: one.roles for one in found.items}


def test_grants_are_replaced_whole_and_audited_with_both_states(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals
    before = view.get_grants()
    body = wanted((ids["acme-admin"], ["admin"]), (ids["acme-viewer"], ["viewer", "operator"]))
    after = view.replace_grants(body, seen=seen_of(before))
    assert roles(after) == {"acme-admin": ["admin"], "acme-viewer": ["operator", "viewer"]}
    assert after == view.get_grants()
    entry = world.services.audit.search()[-1]
    assert (entry.action, entry.before, entry.after) == ("grants replace", as_record(before), as_record(after))
    assert roles(tenant(world, "beta-admin", BETA).get_grants()).keys() == {
        f"beta-{role} canary4711" for role in ("viewer", "analyst", "operator", "engineer", "admin")
    }


def test_change_of_outdated_grants_is_stale(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals
    seen = seen_of(view.get_grants())
    view.replace_grants(wanted((ids["acme-admin"], ["admin"])), seen=seen)
    assert refused(view.replace_grants, wanted((ids["acme-admin"], ["admin", "viewer"])), seen=seen) == "STALE_ETAG"
    assert roles(view.get_grants()) == {"acme-admin": ["admin"]}


@pytest.mark.parametrize("scope", [ACME, DEPLOYMENT])
def test_last_administrator_cannot_be_removed(world: World, scope: str) -> None:
    name = f"{scope or 'deployment'}-admin"
    caller, viewer = world.caller(name), world.principals["acme-viewer"]
    replace = (
        TenantGrants(world.services, caller, scope).replace_grants
        if scope
        else DeploymentGrants(world.services, caller).replace_deployment_grants
    )
    before = world.services.principals.grants(scope)
    seen = seen_of(before)
    for body in (wanted(), wanted((world.principals[name], ["operator"])), wanted((viewer, ["operator"]))):
        assert refused(replace, body, seen=seen) == "LAST_ADMINISTRATOR"
    assert world.services.principals.grants(scope) == before
    replace(wanted((viewer, [ADMIN])), seen=seen)
    assert [one.name for one in world.services.principals.grants(scope).items] == ["acme-viewer"]


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([("acme-viewer", ["emperor"])], "UNKNOWN_ROLE"),
        ([("acme-viewer", ["admin"]), ("acme-viewer", ["viewer"])], "DUPLICATE_PRINCIPAL"),
        ([("0" * 26, ["admin"])], "NO_SUCH_PRINCIPAL"),
    ],
)
def test_bad_grants_are_refused_and_change_nothing(world: World, items: list[Any], code: str) -> None:
    view = tenant(world, "acme-admin")
    before = view.get_grants()
    body = wanted(*((world.principals.get(name, name), given) for name, given in items))
    assert refused(view.replace_grants, body, seen=seen_of(before)) == code
    assert view.get_grants() == before


def test_own_token_has_at_most_the_rights_of_its_owner(world: World) -> None:
    view = tenant(world, "acme-engineer")
    made = view.create_token(NewTenantToken(name="ci", roles=["operator", "viewer"]))
    assert made.tenants == {"acme": ["operator", "viewer"]}
    world.tokens["ci"] = Token.parse(made.secret)
    assert world.caller("ci").principal.name == "acme-engineer"
    token = world.caller("ci").token
    assert token
    assert token.expires_at_ms // DAY_MS == (now_ms() + 90 * DAY_MS) // DAY_MS
    for roles_, code in ((["admin"], "CAP_TOO_WIDE"), ([], "CAP_EMPTY"), (["emperor"], "UNKNOWN_ROLE")):
        assert refused(view.create_token, NewTenantToken(name="x", roles=roles_)) == code
    for text in (str(world.services.audit.search()), str(made)):
        assert made.secret not in text


def test_capped_token_cannot_create_a_wider_one(world: World) -> None:
    world.tokens["capped"] = world.add_token("acme-admin", {(ACME, "viewer")}, 1000)
    wider = NewTenantToken(name="x", roles=["admin"])
    assert refused(tenant(world, "capped").create_token, wider) == "CAP_TOO_WIDE"
    own = OwnTokens(world.services, world.caller("capped"))
    for body in (
        NewToken(name="x", tenants={ACME: ["analyst"]}),
        NewToken(name="x", tenants={BETA: ["viewer"]}),
        NewToken(name="x", deployment=["admin"]),
    ):
        assert refused(own.create_own_token, body) == "CAP_TOO_WIDE"


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_a_token_lasts_at_most_a_year(world: World, days: int) -> None:
    view = tenant(world, "acme-viewer")
    assert refused(view.create_token, NewTenantToken(name="x", roles=["viewer"], days=days)) == "BAD_LIFETIME"
    view.create_token(NewTenantToken(name="x", roles=["viewer"], days=365))


def test_administrator_creates_tokens_only_for_service_accounts_of_the_tenant(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals

    def token_for(name: str, role: str = "operator") -> NewTenantToken:
        return NewTenantToken(name="x", roles=[role], days=1, principal=ids[name])

    assert view.create_token(token_for("acme-operator")).principal == ids["acme-operator"]
    for other in ("acme-viewer", "beta-operator", "deployment-operator"):
        assert refused(view.create_token, token_for(other, "viewer")) == "NO_SUCH_PRINCIPAL"
    assert refused(view.create_token, token_for("acme-operator", "admin")) == "CAP_TOO_WIDE"
    assert refused(tenant(world, "acme-engineer").create_token, token_for("acme-operator")) == "FORBIDDEN"


def test_owners_manage_their_tokens_and_administrators_those_reaching_their_tenant(world: World) -> None:
    own, admin = tenant(world, "acme-viewer"), tenant(world, "acme-admin")
    mine, foreign = world.tokens["acme-viewer"].token_id, world.tokens["beta-viewer"].token_id
    assert [one.token for one in own.list_tokens(limit=9).items] == [mine]
    shown = [one.token for one in admin.list_tokens(limit=99).items]
    assert mine in shown
    assert foreign not in shown
    assert refused(own.revoke_token, world.tokens["acme-analyst"].token_id) == "UNKNOWN_TOKEN"
    assert refused(admin.revoke_token, foreign) == "UNKNOWN_TOKEN"
    assert admin.revoke_token(mine).revoked_at is not None
    assert refused(world.caller, "acme-viewer") == "TOKEN_REVOKED"


def test_administrator_removes_only_the_own_tenant_from_a_token(world: World) -> None:
    world.tokens["both"] = world.add_token("deployment-admin", {(ACME, "viewer"), (BETA, "viewer")}, 1000)
    wide = world.tokens["both"].token_id
    shown = tenant(world, "acme-admin").revoke_token(wide)
    assert (shown.tenants, shown.revoked_at) == ({}, None)
    rights = world.caller("both").rights
    assert not rights.in_tenant(ACME)
    assert rights.in_tenant(BETA)
    assert "beta" not in str(shown)


def test_cross_tenant_token_is_managed_at_the_deployment(world: World) -> None:
    admin = OwnTokens(world.services, world.caller("deployment-admin"))
    made = admin.create_own_token(NewToken(name="x", tenants={ACME: ["viewer"]}, deployment=["operator"], days=7))
    assert (made.tenants, made.deployment) == ({"acme": ["viewer"]}, ["operator"])
    viewer, own = OwnTokens(world.services, world.caller("acme-viewer")), world.tokens["acme-viewer"].token_id
    assert refused(viewer.revoke_own_token, made.token) == "UNKNOWN_TOKEN"
    assert [one.token for one in viewer.list_own_tokens(limit=9).items] == [own]
    assert viewer.revoke_own_token(own).revoked_at is not None
    assert admin.revoke_own_token(made.token).revoked_at is not None
