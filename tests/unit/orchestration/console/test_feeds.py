"""The page of feeds."""

import re

from orchestration.catalog.feed_records import Refused
from orchestration.console.paths import IN_TENANT
from schemas.errors import UserError
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, BUYERS, MEMBERS, World
from tests.unit.orchestration.console.pages import ask

PAGE = f"{IN_TENANT}/feeds"


def test_paused_feed_can_be_resumed(client: AsgiClient, world: World) -> None:
    shown = ask(client, world, PAGE).body.decode()
    assert re.findall(r'name="change" value="(\w+)"', shown) == ["pause"]
    assert ask(client, world, f"{PAGE}/{{feed}}/state").headers["location"] == "/console/tenants/acme/feeds"
    paused = ask(client, world, PAGE).body.decode()
    assert re.findall(r'name="change" value="(\w+)"', paused) == ["resume"]
    assert "Paused" in paused


def test_halted_feed_says_why_and_offers_to_skip(client: AsgiClient, world: World) -> None:
    [held] = [one for one in world.services.feeds.claim("f", (), 0, 10) if one.feed.tenant == ACME]
    refusal = UserError("RECEIVER_REFUSES", "crm answered 400")
    world.services.feeds.halt(held, refusal, Refused(events=7, after={}), 60)
    shown = ask(client, world, PAGE).body.decode()
    assert "crm answered 400" in shown
    assert "Resume without 7 refused events" in shown


def test_rewound_feed_begins_again(client: AsgiClient, world: World) -> None:
    ask(client, world, f"{PAGE}/{{feed}}/rewind")
    assert world.services.feeds.get(ACME, MEMBERS).epoch == 2


def test_feed_is_created_by_form(client: AsgiClient, world: World) -> None:
    assert f"<option>{BUYERS}</option>" in ask(client, world, PAGE).body.decode()
    ask(client, world, f"{PAGE}/new")
    made = world.services.feeds.get(ACME, "new")
    assert (made.segment, made.to, made.shape, made.start) == (BUYERS, "kafka://acme.buyers", "state", "all")
