"""The page of schedules."""

import re
from dataclasses import replace

from orchestration.console.paths import IN_TENANT
from orchestration.platform.clock import fresh_id
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, NIGHTLY, World
from tests.unit.orchestration.console.pages import OWN, ask

PAGE = f"{IN_TENANT}/schedules"


def test_the_next_five_times_are_shown_until_it_is_paused(client: AsgiClient, world: World) -> None:
    shown = ask(client, world, PAGE).body.decode()
    assert shown.count("T06:00:00") == 5
    assert "Active" in shown
    assert re.findall(r'name="enabled" value="(\w+)"', shown) == ["no"]
    assert ask(client, world, f"{PAGE}/{{schedule}}/state").headers["location"] == "/console/tenants/acme/schedules"
    paused = ask(client, world, PAGE).body.decode()
    assert "T06:00:00" not in paused
    assert "Paused" in paused
    assert re.findall(r'name="enabled" value="(\w+)"', paused) == ["yes"]


def test_a_schedule_whose_only_time_has_passed_is_over(client: AsgiClient, world: World) -> None:
    nightly = world.services.schedules.get(ACME, NIGHTLY)
    once = replace(nightly, schedule_id=fresh_id(), name="once", expression="at(2020-01-01T06:00:00)", next_due_ms=None)
    world.services.schedules.add(once)
    shown = ask(client, world, PAGE).body.decode()
    assert re.findall(r"</span> (Active|Over|Paused)</span>", shown) == ["Active", "Over"]


def test_repeated_form_submission_starts_one_run(client: AsgiClient, world: World) -> None:
    first = ask(client, world, f"{PAGE}/{{schedule}}/runs").headers["location"]
    assert ask(client, world, f"{PAGE}/{{schedule}}/runs").headers["location"] == first
    assert first.startswith("/console/tenants/acme/jobs/")


def test_unknown_state_is_refused_with_a_page(client: AsgiClient, world: World) -> None:
    answer = client.send(
        "POST",
        f"/console/tenants/acme/schedules/{NIGHTLY}/state",
        token=world.tokens["acme-admin"].text.reveal(),
        headers={**OWN, "Content-Type": "application/x-www-form-urlencoded"},
        raw=[b"enabled=maybe"],
    )
    assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert world.services.schedules.get(ACME, NIGHTLY).enabled
