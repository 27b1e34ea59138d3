"""The page of schedules."""

from orchestration.console.paths import IN_TENANT
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import ask

PAGE = f"{IN_TENANT}/schedules"


def test_the_next_five_times_are_shown_until_it_is_paused(client: AsgiClient, world: World) -> None:
    shown = ask(client, world, PAGE).body.decode()
    assert shown.count("T06:00:00") == 5
    assert "Active" in shown
    assert ask(client, world, f"{PAGE}/{{schedule}}/state").headers["location"] == "/console/tenants/acme/schedules"
    paused = ask(client, world, PAGE).body.decode()
    assert "T06:00:00" not in paused
    assert "Paused" in paused


def test_a_run_is_started_once_however_often_its_form_is_sent(client: AsgiClient, world: World) -> None:
    first = ask(client, world, f"{PAGE}/{{schedule}}/runs").headers["location"]
    assert ask(client, world, f"{PAGE}/{{schedule}}/runs").headers["location"] == first
    assert first.startswith("/console/tenants/acme/jobs/")
