"""The page of dead letters."""

from typing import Any, cast

import pytest

from orchestration.readers.questions import ListDeadLetters, ReplayDeadLetters
from tests.fakes import readers
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import OWN
from tests.unit.orchestration.console.test_pages import WellFormed

PAGE = "/console/dead-letters"
FORM = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}


def letter(number: int, reason: str, *, start: bytes = b"{}", topic: str = "muster.events") -> dict[str, Any]:
    return {
        "dead_letter": number,
        "topic": topic,
        "partition": 3,
        "offset": 4711 + number,
        "bytes": 90,
        "reason": reason,
        "failed_at": f"2026-11-24T00:00:{number:02}.000Z",
        "starts_with": start.hex(),
    }


def page(client: AsgiClient, world: World, caller: str = "deployment-admin", *, language: str = "en") -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.get(PAGE, token=token, headers={**OWN, "Accept-Language": language})


@pytest.mark.parametrize("language", ["en", "ja"])
def test_letters_are_grouped_by_topic_and_reason(
    client: AsgiClient, world: World, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [
        letter(1, "undecodable: no JSON", start=b"\x1b[31m<script>"),
        letter(2, "unknown_tenant: bob"),
        letter(3, "unknown_tenant: eve"),
        letter(4, "not one of Muster's messages", topic="muster.imports"),
    ]
    monkeypatch.setitem(readers.ANSWERS, ListDeadLetters, lambda *_: {"items": letters, "more": True})
    text = page(client, world, language=language).body.decode()
    assert WellFormed(text).faults == WellFormed(text).open == []
    assert text.count('name="numbers"') == 3
    assert 'value="2,3"' in text, "the largest group, as one"
    assert text.index('value="2,3"') < text.index('value="1"')
    assert "·[31m&lt;script&gt;" in text
    assert "4,714" not in text
    assert "muster.imports 3:4715" in text


def test_a_group_is_sent_again(client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.ANSWERS, ReplayDeadLetters, lambda asked, _: {"sent": len(asked.numbers)})
    token = world.tokens["deployment-admin"].text.reveal()
    sent = client.send("POST", f"{PAGE}/replays", token=token, headers=FORM, raw=[b"numbers=2%2C3"])
    assert (sent.status, sent.headers["location"]) == (303, f"{PAGE}?sent=2")
    assert b"2 letters were sent again" in client.get(PAGE, token=token, query={"sent": "2"}).body
    assert ReplayDeadLetters(numbers=(2, 3)) in cast(readers.FakeReaders, world.stores.readers).asked
    refused = client.send("POST", f"{PAGE}/replays", token=token, headers=FORM, raw=[b"numbers=all"])
    assert refused.status == 400


def test_it_is_for_those_who_run_the_deployment(client: AsgiClient, world: World) -> None:
    assert page(client, world, "acme-admin").status == 403
    assert "No dead letters" in page(client, world).body.decode()
