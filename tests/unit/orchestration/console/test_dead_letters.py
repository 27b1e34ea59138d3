"""The pages of dead letters."""

import base64
from typing import Any, cast

import pytest

from orchestration.readers.questions import ListDeadLetters, ReadDeadLetter, ReplayDeadLetters, SelectDeadLetters
from tests.fakes import readers
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import dead_letter
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import OWN
from tests.unit.orchestration.console.test_pages import WellFormed

PAGE = "/console/dead-letters"
FORM = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
REFUSED = {"state": "replayed", "state_at": "2026-11-25T00:00:00.000Z", "state_by": "ann", "refused_as": 9}


def page(
    client: AsgiClient,
    world: World,
    caller: str = "deployment-admin",
    *,
    path: str = "",
    language: str = "en",
    **query: str,
) -> Answer:
    headers = {**OWN, "Accept-Language": language}
    return client.get(PAGE + path, token=world.tokens[caller].text.reveal(), headers=headers, query=query)


def send(client: AsgiClient, world: World, form: bytes) -> Answer:
    token = world.tokens["deployment-admin"].text.reveal()
    return client.send("POST", f"{PAGE}/changes", token=token, headers=FORM, raw=[form])


def asked(world: World) -> list[Any]:
    return cast(readers.FakeReaders, world.services.readers).asked


@pytest.mark.parametrize("language", ["en", "ja"])
def test_letters_are_grouped_by_topic_and_reason(
    client: AsgiClient, world: World, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [
        dead_letter(1, starts_with=b"\x1b[31m<script>".hex()),
        dead_letter(2, code="unknown_tenant", reason="unknown_tenant: bob"),
        dead_letter(3, code="unknown_tenant", reason="unknown_tenant: eve", state="interrupted"),
        dead_letter(4, code=None, reason="not one of Muster's messages", topic="muster.imports"),
    ]
    done = [dead_letter(5, **REFUSED), dead_letter(6, **{**REFUSED, "state": "dismissed", "refused_as": None})]
    answer = lambda asked, _: {"items": waiting if "open" in asked.states else done, "more": True}  # noqa: E731
    monkeypatch.setitem(readers.ANSWERS, ListDeadLetters, answer)
    text = page(client, world, language=language).body.decode()
    assert WellFormed(text).faults == WellFormed(text).open == []
    assert text.count('name="up_to"') == 3
    assert text.index('name="code" value="unknown_tenant"') < text.index('name="code" value="undecodable"'), (
        "largest first"
    )
    assert 'name="letter-3"' in text
    assert 'name="letter-5"' not in text
    assert "·[31m&lt;script&gt;" in text
    assert "4,714" not in text
    assert "muster.imports 3:4715" in text
    assert f'href="{PAGE}/5"' in text
    assert ("letter 9" if language == "en" else "デッドレター 9") in text
    assert f'href="{PAGE}/5"' not in page(client, world, "deployment-operator").body.decode()


def test_letters_are_replayed_once(client: AsgiClient, world: World) -> None:
    for expected in ("sent=2", "sent=0&already=2"):
        sent = send(client, world, b"action=replay-selected&letter-2=on&letter-3=on&topic=t&code=c&up_to=9")
        assert (sent.status, sent.headers["location"]) == (303, f"{PAGE}?{expected}")
    assert [one for one in asked(world) if isinstance(one, ReplayDeadLetters)] == [
        ReplayDeadLetters(topic_id="t", numbers=(2, 3))
    ]
    assert b"2 letters were left alone" in page(client, world, sent="0", already="2").body
    assert send(client, world, b"action=replay-selected").headers["location"] == PAGE
    assert send(client, world, b"action=replay-selected&letter-x=on").status == 400
    assert send(client, world, b"action=replay-all&up_to=9&topic=" + b"t" * 256).status == 422


def test_replay_by_reason_covers_only_displayed_letters(client: AsgiClient, world: World) -> None:
    """A form that is sent twice does not reach the letters that the first replay made."""
    sent = send(client, world, b"action=dismiss-all&letter-2=on&topic=muster.events&code=undecodable&up_to=7")
    assert sent.headers["location"] == f"{PAGE}?dismissed=0"
    assert asked(world)[-1] == SelectDeadLetters(numbers=None, topic="muster.events", code="undecodable", up_to=7)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{"user":"<b>"}', "{&#34;user&#34;:&#34;&lt;b&gt;&#34;}"),
        (b"\xc3\x01" * 9, "c3 01 c3 01 c3 01 c3 01 c3 01 c3 01 c3 01 c3 01  ················\nc3 01"),
    ],
    ids=["text", "bytes"],
)
def test_whole_letter_is_shown(
    client: AsgiClient, world: World, value: bytes, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = None if value[0] == 0xC3 else value.decode()
    whole = {"key": "a2V5", "key_text": "key", "value": base64.b64encode(value).decode(), "value_text": text}
    monkeypatch.setitem(readers.ANSWERS, ReadDeadLetter, lambda *_: dead_letter(5, **REFUSED, **whole))
    body = page(client, world, path="/5").body.decode()
    assert WellFormed(body).faults == WellFormed(body).open == []
    assert shown in body
    assert "replay-selected" not in body, "it was replayed"
    assert page(client, world, path="/x").status == 400


def test_only_administrators_of_the_deployment_see_records(client: AsgiClient, world: World) -> None:
    assert page(client, world, "acme-admin").status == 403
    assert "No dead letters" in page(client, world, "deployment-operator").body.decode()
    assert page(client, world, "deployment-operator", path="/5").status == 403
    assert page(client, world, path="/5").status == 200
    entries = world.services.audit.page(None, limit=9)
    assert [(one.error, one.action) for one in entries if one.action == "dead-letters show"] == [
        (None, "dead-letters show"),
        ("FORBIDDEN", "dead-letters show"),
    ]
