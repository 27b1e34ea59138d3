"""The pages of audiences: versions, pins, and that nothing is rolled back by mistake."""

from orchestration.console.paths import IN_TENANT
from schemas.layout import rejects_key
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, DOWNLOAD, EXPORT, JOB, World, id_of
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
    assert "Members, version by version" in shown
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


def test_settings_are_shown_in_words_and_edited(client: AsgiClient, world: World) -> None:
    shown = text_of(send(client, world, VIP, caller="acme-admin"))
    assert "A file replaces all members" in shown
    assert "max_reject_share" not in shown
    form = send(client, world, f"{VIP}/settings", caller="acme-admin").body.decode()
    seen = form.partition('name="seen" value="')[2].partition('"')[0]
    given = (
        "mode=append&id_column=email&max_reject_percent=0.5&max_shrink_percent=&timezone=Asia/Tokyo&null_values=NA, -"
        f"&delimiter=;&encoding=utf-8&versions=3&days=7&folders=sets&allow_empty=yes&seen={seen}"
    ).replace(";", "%3B")
    assert send(client, world, f"{VIP}/settings", given, "acme-admin").status == 303
    changed = text_of(send(client, world, VIP, caller="acme-admin"))
    for words in (
        "A file adds members",
        "0.5 % of the rows of a file",
        "may remove no limit",
        "the empty one, NA, -",
        "semicolon",
        "the newest 3, and all of the last 7 days",
        "Asia/Tokyo",
        "once _SUCCESS has come",
    ):
        assert words in changed
    assert "STALE_ETAG" in send(client, world, f"{VIP}/settings", given, "acme-admin").body.decode()
    assert "Edit the settings" not in text_of(send(client, world, VIP, caller="acme-viewer"))


def test_export_is_started_by_form_and_its_files_are_fetched(client: AsgiClient, world: World) -> None:
    assert f'href="{VIP}/export"' in send(client, world, VIP, caller="acme-operator").body.decode()
    form = send(client, world, f"{VIP}/export", caller="acme-operator").body.decode()
    assert "c_plain" in form
    wanted = "key=k&place=download&format=csv&rows=changes&delta_from=last&column-1=c_plain&where="
    started = send(client, world, f"{VIP}/exports", wanted, "acme-operator").headers["location"]
    assert send(client, world, f"{VIP}/exports", wanted, "acme-operator").headers["location"] == started
    (entry, *_) = [one for one in world.services.audit.search() if one.action == "export"]
    asked = entry.arguments
    assert (asked["to"], asked["delta_from"], asked["shape"]["columns"]) == ("download", "last", ["c_plain"])
    job = f"/console/tenants/acme/jobs/{id_of('acme', DOWNLOAD)}"
    assert f'href="{job}/files"' in send(client, world, job, caller="acme-operator").body.decode()
    assert "/files" not in send(client, world, job, caller="acme-viewer").body.decode()
    assert f'href="{job}/files/1"' in send(client, world, f"{job}/files", caller="acme-operator").body.decode()
    for name in ("1", "manifest"):
        fetched = send(client, world, f"{job}/files/{name}", caller="acme-operator").headers["location"]
        assert "/download/acme/" in fetched
    assert send(client, world, f"{job}/files/7", caller="acme-operator").status == 404
    other = f"/console/tenants/acme/jobs/{id_of('acme', EXPORT)}"
    assert "/files" not in send(client, world, other, caller="acme-operator").body.decode()
