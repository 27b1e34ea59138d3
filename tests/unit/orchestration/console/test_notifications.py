"""The page of notifications that were not delivered."""

import pytest

from orchestration.notifications.recipients import Recipient
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, AT_MS, FAILED_JOB, World, id_of
from tests.unit.orchestration.console.test_grants import get, post
from tests.unit.orchestration.console.test_pages import WellFormed

PAGE = "/console/notifications"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_abandoned_notification_is_resent(client: AsgiClient, world: World, language: str) -> None:
    assert b'class="empty"' in get(client, world, PAGE, "deployment-operator").body
    outbox = world.services.outbox
    recipients = [Recipient(channel="email", address=f"{name}@x.example", tenant=ACME) for name in ("a", "b")]
    subject = id_of(ACME, FAILED_JOB)
    given_up, waiting = outbox.write(subject, "system-error", recipients, {"job": subject}, now_ms=AT_MS)
    outbox.failed(given_up.notification_id, "550 <no such mailbox>", None)
    outbox.failed(waiting.notification_id, "451 try later", AT_MS + 60_000)
    text = get(client, world, PAGE, "deployment-operator", language=language).body.decode()
    assert WellFormed(text).faults == WellFormed(text).open == []
    for shown in ("a@x.example", "b@x.example", "550 &lt;no such mailbox&gt;", subject):
        assert shown in text
    assert text.count('value="given-up"') == 1
    sent = post(client, world, f"{PAGE}/resends", "deployment-operator", notification="given-up")
    assert (sent.status, sent.headers["location"]) == (303, f"{PAGE}?resent=1")
    assert {one.state for one in outbox.undelivered()} == {"waiting"}
    assert b'value="given-up"' not in get(client, world, PAGE, "deployment-operator").body
    one = post(client, world, f"{PAGE}/resends", "deployment-operator", notification=waiting.notification_id)
    assert one.headers["location"].endswith("resent=1")
    assert min(row.attempts for row in outbox.undelivered()) == 0
    for wanted, status in (("", 400), ("nothing", 404)):
        assert post(client, world, f"{PAGE}/resends", "deployment-operator", notification=wanted).status == status
    assert get(client, world, PAGE, "acme-admin").status == 403


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"{PAGE}/resends", {"notification": 65 * "a"}),
        ("/console/places/change", {"tenant": 64 * "a", "places": ""}),
        ("/console/places/change", {"tenant": "acme", "places": f"s3://{1025 * 'a'}"}),
        ("/console/tenants/acme/recipients/change", {"email": f"{255 * 'a'}@x.example"}),
        ("/console/tenants/acme/recipients/tests", {"address": 2001 * "a"}),
    ],
)
def test_invalid_form_is_refused_with_a_page(client: AsgiClient, world: World, path: str, form: dict[str, str]) -> None:
    caller = "acme-admin" if "acme/" in path else "deployment-admin"
    answer = post(client, world, path, caller, **form)
    assert (answer.status, b"INVALID_REQUEST" in answer.body) == (422, True)
