"""Many pages of one browser, all of them live."""

from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from muster import Client
from orchestration.console.paths import in_tenant
from tests.browser.conftest import Open

pytestmark = pytest.mark.browser
TENANT: Final = "many-pages"
PAGES: Final = 8
"""Browsers open six connections to a host over HTTP/1.1."""


def test_eight_pages_share_a_stream_and_another_takes_over_when_its_page_is_closed(
    open_console: Open, muster: Client, tmp_path: Path
) -> None:
    muster.create_tenant(TENANT)
    tab = open_console(locale="en-GB")
    first, context = tab.page, tab.page.context
    streams: list[Page] = []
    context.on("request", lambda one: streams.append(one.frame.page) if "/console/events" in one.url else None)

    def import_one(user: str) -> None:
        file = tmp_path / f"{user}.csv"
        file.write_text(f"user_id\n{user}\n")
        muster.import_file(TENANT, file, audience="vip")

    first.goto(tab.origin + in_tenant(TENANT, "jobs"))
    others = [context.new_page() for _ in range(PAGES - 1)]
    for number, one in enumerate(others):
        # Several sources: jobs, segments, and another tenant's jobs.
        one.goto(tab.origin + in_tenant("default" if number == 0 else TENANT, "segments" if number == 1 else "jobs"))
    lists = [first, *others[2:]]
    import_one("ann")
    for one in lists:
        expect(one.get_by_role("link", name="1 new job")).to_be_visible()
    expect(others[0].get_by_role("link", name="new job")).to_have_count(0)
    leader = streams[-1]
    assert set(streams) == {leader}, "one page holds the stream"
    leader.close()
    lists.remove(leader)
    import_one("bob")
    for one in lists:
        expect(one.get_by_role("link", name="2 new jobs")).to_be_visible()
    assert streams[-1] is not leader
    assert len(set(streams)) == 2
