"""The pages of audiences: versions, pins, and that nothing is rolled back by mistake."""

from orchestration.console.paths import IN_TENANT
from schemas.layout import rejects_key
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, JOB, World, id_of
from tests.unit.orchestration.console.pages import ask
from tests.unit.orchestration.console.test_segments import make, send, text_of

AUDIENCES = "/console/tenants/acme/audiences"
VIP = f"{AUDIENCES}/vip"
ROLLBACK = f"{VIP}/versions/1/rollback"


def test_page_shows_versions_and_users_of_the_audience(client: AsgiClient, world: World) -> None:
    make(world, "near", "in audience vip")
    make(world, "far", 'ever("in audience vip")')
    shown = text_of(send(client, world, VIP, caller="acme-operator"))
    assert "Used by near , schedule nightly " in shown
    assert "Version 2 ✓ Current" in shown
    assert "Roll back to version 1" in send(client, world, VIP, caller="acme-operator").body.decode()
    assert "Roll back to version 2" not in send(client, world, VIP, caller="acme-operator").body.decode()
    assert "Roll back" not in send(client, world, VIP, caller="acme-viewer").body.decode()
    assert "vip" in text_of(send(client, world, AUDIENCES))


def test_a_version_is_pinned_and_released(client: AsgiClient, world: World) -> None:
    pin = f"{VIP}/versions/1/pin"
    assert send(client, world, pin, "pinned=yes", "acme-operator").status == 303
    assert "⚑ Pinned" in text_of(send(client, world, VIP, caller="acme-operator"))
    send(client, world, pin, "pinned=no", "acme-operator")
    assert "⚑ Pinned" not in text_of(send(client, world, VIP, caller="acme-operator"))
    assert send(client, world, pin, "pinned=maybe", "acme-operator").status == 400


def test_rollback_requires_the_name_and_is_followed_to_its_end(client: AsgiClient, world: World) -> None:
    refused = send(client, world, ROLLBACK, "confirm=vi&reason=&key=k", "acme-operator")
    assert "NOT_CONFIRMED" in refused.body.decode()
    assert send(client, world, f"{VIP}/versions/x/rollback", "confirm=vip&key=k", "acme-operator").status == 404
    long = send(client, world, ROLLBACK, f"confirm=vip&reason={'x' * 1001}&key=k", "acme-operator")
    assert (long.status, "INVALID_REQUEST" in long.body.decode()) == (422, True)
    form = "confirm=vip&reason=wrong+file&key=k"
    begun = send(client, world, ROLLBACK, form, "acme-operator").headers["location"]
    assert send(client, world, ROLLBACK, form, "acme-operator").headers["location"] == begun
    path, _, operation = begun.partition("?operation=")
    token = world.tokens["acme-operator"].text.reveal()
    shown = client.get(path, token=token, query={"operation": [operation]}).body.decode()
    assert "Applying the change" in shown
    part = client.get(f"{path}/operations/{operation}", token=token)
    assert "aria-busy" in part.body.decode()
    assert "hx-redirect" not in part.headers
    done = ask(client, world, f"{IN_TENANT}/audiences/{{audience}}/operations/{{operation}}")
    assert done.headers["hx-redirect"].startswith(f"{VIP}?operation=")


def test_version_links_to_its_job_and_the_job_to_audience_and_rejects(client: AsgiClient, world: World) -> None:
    job = f"/console/tenants/acme/jobs/{id_of('acme', JOB)}"
    assert f'href="{job}"' in send(client, world, VIP, caller="acme-viewer").body.decode()
    for caller, leads in (("acme-viewer", 1), ("deployment-operator", 0)):
        assert send(client, world, job, caller=caller).body.decode().count(f'<h1><a href="{VIP}">') == leads
    assert "/rejects" not in send(client, world, job, caller="acme-viewer").body.decode()
    assert f'href="{job}/rejects/file"' in send(client, world, job, caller="acme-operator").body.decode()
    file = send(client, world, f"{job}/rejects/file", caller="acme-operator")
    assert rejects_key(ACME, id_of("acme", JOB)) in file.headers["location"]
    assert [entry.action for entry in world.services.audit.search()] == ["rejects"]
