"""What happens to others while a page is open: a worker that stops, a session that is revoked, a connection lost."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from muster import Client
from muster.following import follow
from orchestration.local.home import Home
from orchestration.local.status import read_status
from orchestration.platform.settings import Settings
from tests.browser.conftest import Open

pytestmark = pytest.mark.browser
JOBS = "/console/tenants/default/jobs"


@contextmanager
def stopped(settings: Settings, part: str) -> Iterator[None]:
    """A part that no longer runs: for Kafka it is dead, while the supervisor, which would start another, sees it."""
    pid = next(one.pid for one in read_status(Home(path=settings.home)).parts if one.name == part)
    process = psutil.Process(pid)
    all_of_it = [process, *process.children(recursive=True)]
    for one in all_of_it:
        one.suspend()
    try:
        yield
    finally:
        for one in all_of_it:
            one.resume()


def test_dead_worker_is_shown_and_its_job_explains_the_wait(
    open_console: Open, muster: Client, settings: Settings, tmp_path: Path
) -> None:
    tab = open_console("/console/workers", locale="en-GB")
    page = tab.page
    worker = page.get_by_role("row").filter(has_text="muster-materialiser")
    expect(worker).to_be_visible()
    file = tmp_path / "people.csv"
    file.write_text("user_id\nann\nbob\n")
    with stopped(settings, "worker-1"):
        expect(worker).to_be_hidden()
        expect(page.get_by_text("0 workers").first).to_be_visible()
        tab.check("workers-dead")
        started = muster.import_file("default", file, audience="waited")
        next(follow(muster, started["job"]))  # it is registered
        tab.visit(JOBS)
        row = page.locator(f"#job-{started['job']}")
        expect(row).to_contain_text(re.compile(r"no worker for \d+"))
        tab.check("jobs-waiting")
        row.get_by_role("link").first.click()
        expect(page.get_by_text(re.compile(r"Waiting: no worker for \d+")).first).to_be_visible()
        expect(page.get_by_text("Nothing is lost").first).to_be_visible()
        tab.check("job-waiting")
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    assert muster.job("default", started["job"])["state"] == "READY"


def test_revoked_session_ends_the_open_page(open_console: Open, muster: Client) -> None:
    before = {one["session"] for one in muster.sessions()}
    tab = open_console(JOBS, locale="en-GB")
    page = tab.page
    tab.expected += ["401"]
    with page.expect_response(re.compile("/events")):
        page.reload()
    (own,) = {one["session"] for one in muster.sessions()} - before
    muster.end_session(own)
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    assert "/console/login" in page.url
    tab.check("login-ended")


def test_lost_connection_is_shown_and_restored(open_console: Open) -> None:
    tab = open_console(locale="en-GB")
    page = tab.page
    tab.expected += ["ERR_FAILED"]
    page.route(re.compile("/v1/|/console/events"), lambda route: route.abort())
    tab.visit(JOBS)
    expect(page.get_by_text("Connection lost.")).to_be_visible()
    tab.check("jobs-lost")
    page.unroute_all()
    expect(page.get_by_text("Connection lost.")).to_be_hidden()


@pytest.mark.slow("the page waits 20 s for the service")
def test_builder_without_the_service_marks_numbers_and_creates_nothing_later(
    open_console: Open, muster: Client, settings: Settings
) -> None:
    tab = open_console("/console/tenants/default/builder", locale="en-GB")
    page = tab.page
    tab.expected += ["htmx:timeout", "htmx:afterRequest"]
    page.get_by_label("event", exact=True).fill("purchase")
    page.get_by_label("Name of the segment").fill("late")
    expect(page.locator("#total")).to_contain_text("Exact")
    expect(page.locator("#rule")).not_to_have_class(re.compile("unconfirmed"))
    with stopped(settings, "api"):
        page.get_by_label("Length of the window").fill("2")
        expect(page.get_by_text("these numbers belong to an earlier rule")).to_be_visible()
        expect(page.locator("#rule")).to_have_class(re.compile("unconfirmed"))
        page.get_by_role("button", name="Create segment").click()
        expect(page.get_by_text("No answer in time.")).to_be_visible()
        expect(page.get_by_text("Connection lost.")).to_be_visible()
        tab.check("builder-lost")
    expect(page.get_by_text("Connection lost.")).to_be_hidden()
    expect(page.get_by_text("these numbers belong to an earlier rule")).to_be_hidden()
    assert "late" not in {one["segment"] for one in muster.segments("default")}
    page.get_by_role("button", name="Create segment").click()
    expect(page.get_by_role("heading", name="late")).to_be_visible()
