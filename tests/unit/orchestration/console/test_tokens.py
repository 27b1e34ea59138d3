"""The page of tokens."""

from orchestration.console.paths import IN_TENANT
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import OWN, ask

PAGE = f"{IN_TENANT}/tokens"
FORM = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}


def post(client: AsgiClient, world: World, path: str, form: str) -> int:
    token = world.tokens["acme-admin"].text.reveal()
    return client.send("POST", path, token=token, headers=FORM, raw=[form.encode()]).status


def test_a_token_is_shown_once(client: AsgiClient, world: World) -> None:
    made = ask(client, world, f"{PAGE}/new").body.decode()
    assert made.count("mst_") == 1
    later = ask(client, world, PAGE).body.decode()
    assert "mst_" not in later
    assert "mine" in later


def test_a_token_is_revoked_and_one_of_another_tenant_is_unknown(client: AsgiClient, world: World) -> None:
    foreign, own = (world.tokens[name] for name in ("beta-viewer", "acme-viewer"))
    path = "/console/tenants/acme/tokens/{}/revocation"
    assert [post(client, world, path.format(one.token_id), "") for one in (foreign, own)] == [404, 303]
    assert [client.get("/v1/me", token=one.text.reveal()).status for one in (foreign, own)] == [200, 401]


def test_non_numeric_lifetime_is_refused(client: AsgiClient, world: World) -> None:
    for days in ("", "x", "-1", "1e9", "99999", "366"):
        assert post(client, world, "/console/tenants/acme/tokens/new", f"name=a&role_viewer=on&days={days}") == 422


def test_a_name_that_is_too_long_is_refused(client: AsgiClient, world: World) -> None:
    form = f"name={'x' * 101}&role_viewer=on&days=9"
    assert post(client, world, "/console/tenants/acme/tokens/new", form) == 422
