"""Pages of roles, in a tenant and in the deployment, of people, of recipients and of places."""

from urllib.parse import urlencode

import pytest

from orchestration.access.policy import DEPLOYMENT
from orchestration.access.revisions import revision_of
from orchestration.catalog.operations import RECIPIENT_TEST
from orchestration.records.access import Grants
from schemas.errors import RetriableError
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, World
from tests.unit.orchestration.console.pages import OWN
from tests.unit.orchestration.console.test_pages import WellFormed

TENANT = "/console/tenants/acme"
FORM = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}


def get(client: AsgiClient, world: World, path: str, caller: str, *, language: str = "en") -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.get(path, token=token, headers={**OWN, "Accept-Language": language})


def post(client: AsgiClient, world: World, path: str, caller: str, **form: str) -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.send("POST", path, token=token, headers=FORM, raw=[urlencode(form).encode()])


def held(world: World, scope: str) -> dict[str, tuple[str, ...]]:
    return {one.principal: tuple(one.roles) for one in world.services.principals.grants(scope).items}


def seen_in(world: World, scope: str) -> str:
    """The revision of the grants of a scope."""
    return revision_of(world.services.principals.grants(scope), Grants.revision)


def test_change_replaces_the_roles_of_a_principal_or_removes_it(client: AsgiClient, world: World) -> None:
    before, viewer = held(world, ACME), world.principals["acme-viewer"]
    for roles in ({"role_analyst": "on", "role_operator": "on"}, {}):
        seen = seen_in(world, ACME)
        given = {"principal": viewer, "revision": seen, **roles}
        assert post(client, world, f"{TENANT}/grants/change", "acme-admin", **given).status == 303
        wanted = tuple(name.removeprefix("role_") for name in roles)
        assert held(world, ACME).get(viewer, ()) == wanted
        assert held(world, ACME).keys() | {viewer} == before.keys()
    seen = seen_in(world, ACME)
    nothing = post(client, world, f"{TENANT}/grants/change", "acme-admin", principal=viewer, revision=seen)
    assert b"NO_ROLE" in nothing.body
    stale = post(client, world, f"{TENANT}/grants/change", "acme-admin", **{**given, "role_viewer": "on"})
    assert (stale.status, b"STALE_ETAG" in stale.body) == (412, True)


@pytest.mark.parametrize(
    ("path", "scope", "admin"),
    [(f"{TENANT}/grants", ACME, "acme-admin"), ("/console/grants", DEPLOYMENT, "deployment-admin")],
)
def test_last_administrator_is_kept(client: AsgiClient, world: World, path: str, scope: str, admin: str) -> None:
    given = {"principal": world.principals[admin], "revision": seen_in(world, scope)}
    before = held(world, scope)
    refused = post(client, world, f"{path}/change", admin, **given)
    assert (refused.status, b"LAST_ADMINISTRATOR" in refused.body) == (409, True)
    assert held(world, scope) == before


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("path", ["/console/grants", "/console/places", "/console/people"])
def test_deployment_pages_require_an_administrator(client: AsgiClient, world: World, path: str, language: str) -> None:
    text = get(client, world, path, "deployment-admin", language=language).body.decode()
    found = WellFormed(text)
    assert (found.faults, found.open) == ([], [])
    assert f'href="{path}?from=acme"' in text
    for caller in ("acme-admin", "deployment-operator"):
        assert get(client, world, path, caller).status == 403


def test_account_is_created_and_loses_all_access(client: AsgiClient, world: World) -> None:
    admin, people = "deployment-admin", "/console/people"
    made = post(client, world, f"{people}/new", admin, name=" nightly <loader>", kind="service")
    page = made.headers["location"]
    assert "nightly &lt;loader&gt;" in get(client, world, people, admin).body.decode()
    fresh = get(client, world, page, admin).body.decode()
    assert ("No roles" in fresh, "No tokens" in fresh, "withdrawal" in fresh) == (True, True, False)
    again = post(client, world, f"{people}/new", admin, name="nightly <loader>", kind="service")
    assert (again.status, b"PRINCIPAL_EXISTS" in again.body) == (409, True)
    engineer, token = world.principals["acme-engineer"], world.tokens["acme-engineer"]
    of_engineer = f"{people}/{engineer}"
    text = get(client, world, of_engineer, admin).body.decode()
    assert WellFormed(text).faults == WellFormed(text).open == []
    assert '<a href="/console/tenants/acme/grants">acme</a></dt><dd>Engineer</dd>' in text
    revocation = f"{of_engineer}/tokens/{token.token_id}/revocation"
    assert f'action="{revocation}"' in text
    assert client.get("/v1/tenants/acme/jobs", token=token.text.reveal()).status == 200
    for refused in (
        post(client, world, f"{of_engineer}/withdrawal", "acme-admin"),
        post(client, world, revocation, "stranger"),
    ):
        assert refused.status in {403, 404}
    assert post(client, world, f"{of_engineer}/withdrawal", admin).headers["location"] == of_engineer
    assert client.get("/v1/me", token=token.text.reveal()).json["code"] == "TOKEN_REVOKED"
    assert "No roles" in get(client, world, of_engineer, admin).body.decode()
    assert b"UNKNOWN_PRINCIPAL" in get(client, world, f"{people}/{token.token_id}", admin).body


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/console/people/new", {"name": "x" * 101, "kind": "person"}),
        ("/console/places/tenants", {"name": "x" * 64}),
    ],
)
def test_a_name_that_is_too_long_is_refused(client: AsgiClient, world: World, path: str, form: dict[str, str]) -> None:
    refused = post(client, world, path, "deployment-admin", **form)
    assert (refused.status, b"INVALID_REQUEST" in refused.body) == (422, True)


def test_a_role_is_given_to_a_principal_alone(client: AsgiClient, world: World) -> None:
    given = {"principal": "x", "revision": seen_in(world, ACME), "role_viewer": "on"}
    refused = post(client, world, f"{TENANT}/grants/change", "acme-admin", **given)
    assert (refused.status, b"BAD_JOB_ID" in refused.body) == (404, True)


def test_the_last_administrator_keeps_access(client: AsgiClient, world: World) -> None:
    admin = world.principals["deployment-admin"]
    refused = post(client, world, f"/console/people/{admin}/withdrawal", "deployment-admin")
    assert (refused.status, b"LAST_ADMINISTRATOR" in refused.body) == (409, True)
    assert get(client, world, "/console/people", "deployment-admin").status == 200


def test_only_callers_who_can_list_principals_choose_from_them(client: AsgiClient, world: World) -> None:
    chosen = f'<option value="{world.principals["beta-viewer"]}">'
    assert chosen in get(client, world, f"{TENANT}/grants", "deployment-admin").body.decode()
    assert chosen not in get(client, world, f"{TENANT}/grants", "acme-admin").body.decode()


def test_recipients_of_channels_are_independent(client: AsgiClient, world: World) -> None:
    path = f"{TENANT}/recipients"
    for given in ({"email": "a@x.example\r\nb@x.example"}, {"webhook": "https://x.example/hook?key=hush"}):
        assert post(client, world, f"{path}/change", "acme-admin", audience="", **given).status == 303
    text = get(client, world, path, "acme-admin").body.decode()
    assert "a@x.example\nb@x.example</textarea>" in text
    assert "https://x.example/hook" in text
    assert "hush" not in text
    bad = post(client, world, f"{path}/change", "acme-admin", audience="", email="not an address")
    assert (bad.status, b"BAD_RECIPIENT" in bad.body) == (422, True)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_test_notification_reports_its_delivery(client: AsgiClient, world: World, language: str) -> None:
    path, address = f"{TENANT}/recipients", "https://x.example/hook"
    post(client, world, f"{path}/change", "acme-admin", audience="", webhook=f"{address}?key=hush")
    assert f'name="address" value="{address}"' in get(client, world, path, "acme-admin").body.decode()
    store, outcomes = world.services.operations, []
    for outcome in (
        {"channel": "webhook", "delivered_at": "2026-11-29T10:00:00Z"},
        RetriableError("WEBHOOK_FAILED", "503 <b>"),
    ):
        begun = post(client, world, f"{path}/tests", "acme-admin", audience="", channel="webhook", address=address)
        (pending,) = store.pending(RECIPIENT_TEST)
        asked = f"{path}/tests/{pending.operation_id}"
        assert f'hx-get="{asked}"' in begun.body.decode()
        store.finish(pending.operation_id, outcome, now_ms=1)
        outcomes.append(get(client, world, asked, "acme-admin", language=language).body.decode())
    arrived, failed = outcomes
    assert 'class="notice good"' in arrived
    assert "2026-11-29T10:00:00Z" in arrived
    assert 'class="notice bad"' in failed
    for shown in ("webhook_private_targets", "503 &lt;b&gt;", "WEBHOOK_FAILED"):
        assert shown in failed
    for text in outcomes:
        assert "hx-get" not in text
        assert WellFormed(text).faults == WellFormed(text).open == []
    gone = post(
        client, world, f"{path}/tests", "acme-admin", audience="", channel="webhook", address="https://y.example/"
    )
    assert gone.status == 404


def test_locations_of_tenants_are_independent(client: AsgiClient, world: World) -> None:
    def change(tenant: str, places: str, seen: str) -> Answer:
        given = {"tenant": tenant, "places": places, "revision": seen}
        return post(client, world, "/console/places/change", "deployment-admin", **given)

    def seen() -> str:
        text = get(client, world, "/console/places", "deployment-admin").body.decode()
        return text.partition('name="revision" value="')[2].partition('"')[0]

    before, old = world.services.places.all(), seen()
    assert change("acme", "s3://crm/acme/\r\nkafka://acme-vip", old).status == 303
    after = world.services.places.all()
    assert set(after[ACME]) == {"s3://crm/acme/", "kafka://acme-vip"}
    assert {name: one for name, one in after.items() if name != ACME} == {
        name: one for name, one in before.items() if name != ACME
    }
    assert change("acme", "*", old).status == 412
    assert b"BAD_PLACE" in change("acme", "ftp://x", seen()).body
    made = post(client, world, "/console/places/tenants", "deployment-admin", name="fresh")
    assert made.status == 303
    assert "fresh" in get(client, world, "/console/places", "deployment-admin").body.decode()
