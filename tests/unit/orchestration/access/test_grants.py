"""Changes of grants and tokens, and their limits."""

from typing import Any

import pytest

from orchestration.access.grants import DAY_MS
from orchestration.access.policy import ADMIN, DEPLOYMENT
from orchestration.access.views.administration import AdministrationView
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from tests.fakes.tenants import ACME, BETA, World


def tenant(world: World, name: str, of: str = ACME) -> AdministrationView:
    return AdministrationView(world.services, world.caller(name), of)


def refused(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as refusal:
        call(*args, **kwargs)
    return refusal.value.code


def roles(record: Any) -> dict[str, list[str]]:
    return {item["name"]: item["roles"] for item in record["items"]}


def test_grants_are_replaced_whole_and_audited_with_both_states(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals
    before, seen = view.grants()
    wanted = [(ids["acme-admin"], ["admin"]), (ids["acme-viewer"], ["viewer", "operator"])]
    after, revision = view.replace_grants(wanted, seen=seen)
    assert roles(after) == {"acme-admin": ["admin"], "acme-viewer": ["operator", "viewer"]}
    assert (after, revision) == view.grants()
    entry = world.services.audit.search()[-1]
    assert (entry.action, entry.before, entry.after) == ("grants replace", before, after)
    assert roles(tenant(world, "beta-admin", BETA).grants()[0]).keys() == {
        f"beta-{role} canary4711" for role in ("viewer", "analyst", "operator", "engineer", "admin")
    }


def test_change_of_outdated_grants_is_stale(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals
    _, seen = view.grants()
    view.replace_grants([(ids["acme-admin"], ["admin"])], seen=seen)
    assert refused(view.replace_grants, [(ids["acme-admin"], ["admin", "viewer"])], seen=seen) == "STALE_ETAG"
    assert roles(view.grants()[0]) == {"acme-admin": ["admin"]}


@pytest.mark.parametrize("scope", [ACME, DEPLOYMENT])
def test_last_administrator_cannot_be_removed(world: World, scope: str) -> None:
    name = f"{scope or 'deployment'}-admin"
    caller = world.caller(name)
    view = AdministrationView(world.services, caller, scope) if scope else DeploymentView(world.services, caller)
    before, seen = view.grants()
    for wanted in ([], [(world.principals[name], ["operator"])], [(world.principals["acme-viewer"], ["operator"])]):
        assert refused(view.replace_grants, wanted, seen=seen) == "LAST_ADMINISTRATOR"
    assert view.grants() == (before, seen)
    view.replace_grants([(world.principals["acme-viewer"], [ADMIN])], seen=seen)
    assert [one.principal.name for one in world.services.principals.grants(scope)] == ["acme-viewer"]


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([("acme-viewer", ["emperor"])], "UNKNOWN_ROLE"),
        ([("acme-viewer", ["admin"]), ("acme-viewer", ["viewer"])], "DUPLICATE_PRINCIPAL"),
        ([("nobody", ["admin"])], "NO_SUCH_PRINCIPAL"),
    ],
)
def test_bad_grants_are_refused_and_change_nothing(world: World, items: list[Any], code: str) -> None:
    view = tenant(world, "acme-admin")
    before, seen = view.grants()
    wanted = [(world.principals.get(name, name), given) for name, given in items]
    assert refused(view.replace_grants, wanted, seen=seen) == code
    assert view.grants() == (before, seen)


def test_own_token_has_at_most_the_rights_of_its_owner(world: World) -> None:
    view = tenant(world, "acme-engineer")
    record, secret = view.create_token(name="ci", roles=["operator", "viewer"], days=None)
    assert record["tenants"] == {"acme": ["operator", "viewer"]}
    world.tokens["ci"] = secret
    assert world.caller("ci").principal.name == "acme-engineer"
    token = world.caller("ci").token
    assert token
    assert token.expires_at_ms // DAY_MS == (now_ms() + 90 * DAY_MS) // DAY_MS
    assert refused(view.create_token, name="x", roles=["admin"], days=None) == "CAP_TOO_WIDE"
    assert refused(view.create_token, name="x", roles=[], days=None) == "CAP_EMPTY"
    assert refused(view.create_token, name="x", roles=["emperor"], days=None) == "UNKNOWN_ROLE"
    assert secret.text.reveal() not in str(world.services.audit.search())


def test_capped_token_cannot_create_a_wider_one(world: World) -> None:
    world.tokens["capped"] = world.add_token("acme-admin", {(ACME, "viewer")}, 1000)
    assert refused(tenant(world, "capped").create_token, name="x", roles=["admin"], days=None) == "CAP_TOO_WIDE"
    deployment = DeploymentView(world.services, world.caller("capped"))
    for cap in ({(ACME, "analyst")}, {(BETA, "viewer")}, {(DEPLOYMENT, "admin")}):
        assert refused(deployment.create_token, name="x", cap=cap, days=None) == "CAP_TOO_WIDE"


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_a_token_lasts_at_most_a_year(world: World, days: int) -> None:
    view = tenant(world, "acme-viewer")
    assert refused(view.create_token, name="x", roles=["viewer"], days=days) == "BAD_LIFETIME"
    view.create_token(name="x", roles=["viewer"], days=365)


def test_administrator_creates_tokens_only_for_service_accounts_of_the_tenant(world: World) -> None:
    view, ids = tenant(world, "acme-admin"), world.principals
    record, _ = view.create_token(name="x", roles=["operator"], days=1, principal=ids["acme-operator"])
    assert record["principal"] == ids["acme-operator"]
    for other in ("acme-viewer", "beta-operator", "deployment-operator"):
        assert (
            refused(view.create_token, name="x", roles=["viewer"], days=1, principal=ids[other]) == "NO_SUCH_PRINCIPAL"
        )
    wider = {"name": "x", "roles": ["admin"], "days": 1, "principal": ids["acme-operator"]}
    assert refused(view.create_token, **wider) == "CAP_TOO_WIDE"
    engineer = tenant(world, "acme-engineer")
    given = {"name": "x", "roles": ["operator"], "days": 1, "principal": ids["acme-operator"]}
    assert refused(engineer.create_token, **given) == "FORBIDDEN"


def test_owners_manage_their_tokens_and_administrators_those_reaching_their_tenant(world: World) -> None:
    own, admin = tenant(world, "acme-viewer"), tenant(world, "acme-admin")
    mine, foreign = world.tokens["acme-viewer"].token_id, world.tokens["beta-viewer"].token_id
    assert [item["token"] for item in own.tokens(limit=9).items] == [mine]
    shown = [item["token"] for item in admin.tokens(limit=99).items]
    assert mine in shown
    assert foreign not in shown
    assert refused(own.revoke_token, world.tokens["acme-analyst"].token_id) == "UNKNOWN_TOKEN"
    assert refused(admin.revoke_token, foreign) == "UNKNOWN_TOKEN"
    assert admin.revoke_token(mine)["revoked_at"] is not None
    assert refused(world.caller, "acme-viewer") == "TOKEN_REVOKED"


def test_administrator_removes_only_the_own_tenant_from_a_token(world: World) -> None:
    world.tokens["both"] = world.add_token("deployment-admin", {(ACME, "viewer"), (BETA, "viewer")}, 1000)
    wide = world.tokens["both"].token_id
    shown = tenant(world, "acme-admin").revoke_token(wide)
    assert (shown["tenants"], shown["revoked_at"]) == ({}, None)
    rights = world.caller("both").rights
    assert not rights.in_tenant(ACME)
    assert rights.in_tenant(BETA)
    assert "beta" not in str(shown)


def test_cross_tenant_token_is_managed_at_the_deployment(world: World) -> None:
    admin = DeploymentView(world.services, world.caller("deployment-admin"))
    record, _ = admin.create_token(name="x", cap={(ACME, "viewer"), (DEPLOYMENT, "operator")}, days=7)
    assert (record["tenants"], record["deployment"]) == ({"acme": ["viewer"]}, ["operator"])
    viewer = DeploymentView(world.services, world.caller("acme-viewer"))
    assert refused(viewer.revoke_token, record["token"]) == "UNKNOWN_TOKEN"
    assert [item["token"] for item in viewer.tokens(limit=9).items] == [world.tokens["acme-viewer"].token_id]
    assert viewer.revoke_token(world.tokens["acme-viewer"].token_id)["revoked_at"] is not None
    assert admin.revoke_token(record["token"])["revoked_at"] is not None
