"""A rule by clicks: its number on the page, through the API, and by plain DuckDB over the same files."""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import duckdb
import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from muster import Client
from tests.browser.conftest import SHOP, Open

pytestmark = pytest.mark.browser
RULE: Final = 'count(purchase, 20d) >= 2 and platform in ("mobile", "tablet")'
MEMBERS: Final = """
    select count(*) from read_csv(?, all_varchar = true) as profiles
    where platform in ('mobile', 'tablet') and user_id in (
        select user_id from read_csv(?, all_varchar = true)
        where event = 'purchase'
          and timestamp::timestamptz > ?::timestamptz - interval 20 days and timestamp::timestamptz <= ?::timestamptz
        group by user_id having count(*) >= 2
    )
"""

PRESS_AT_ONCE: Final = """
    id => new MutationObserver((_, observer) => {
        const button = document.getElementById(id);
        if (!button) return;
        observer.disconnect();
        button.focus();
        button.click();
        document.body.dataset.pressed = id;
    }).observe(document.body, {childList: true, subtree: true})
"""
"""Presses a button as soon as the page has it, which no hand is fast enough for, but a test is at times."""

TYPE_WHILE_SENT: Final = """
    ([id, text]) => document.addEventListener("htmx:beforeSend", () => {
        const field = document.getElementById(id);
        field.focus();
        field.setSelectionRange(field.value.length, field.value.length);
        document.execCommand("insertText", false, text);
    }, {once: true})
"""
"""Types at the end of a field when the next request has been made and is not answered."""


def counted(folder: Path, as_of: str) -> int:
    """How many users the rule matches, by plain DuckDB."""
    files = [str(folder / "profiles.csv"), str(folder / "clicks.csv")]
    found = duckdb.execute(MEMBERS, [*files, as_of, as_of]).fetchone()
    assert found is not None
    return int(found[0])


def fetched(route: Route) -> APIResponse:
    """The answer to a request. Playwright's own client cannot resolve the console's host."""
    address = urlsplit(route.request.url)
    headers = {**route.request.all_headers(), "host": address.netloc}
    return route.fetch(url=address._replace(netloc=f"127.0.0.1:{address.port}").geturl(), headers=headers)


def total(page: Page) -> tuple[int, str]:
    """The exact number on the page, and the time it is of."""
    expect(page.locator("#total")).to_contain_text("Exact")
    return int(page.locator("#total strong").inner_text()), str(page.locator("#total time").get_attribute("datetime"))


def test_segment_built_by_clicks_shows_the_true_count(open_console: Open, muster: Client, shop: Path) -> None:
    tab = open_console(f"/console/tenants/{SHOP}/segments", locale="en-GB")
    page = tab.page
    page.get_by_role("button", name="New segment").click()
    expect(page.locator("#total")).to_contain_text("Choose an event")
    tab.check("builder-empty")
    page.get_by_label("event", exact=True).fill("purchase")
    page.get_by_label("times", exact=True).fill("2")
    page.get_by_label("Length of the window").fill("2")
    expect(page.locator("#n-0-0")).to_have_text(page.locator("#total strong").inner_text())
    page.evaluate(TYPE_WHILE_SENT, ["f-0.0.window", "0"])
    page.get_by_role("button", name="+ And").click()
    expect(page.get_by_label("Kind of condition")).to_have_count(2)
    expect(page.get_by_label("Length of the window").first).to_have_value("20")
    expect(page.get_by_label("Length of the window").first).to_be_focused()
    assert page.get_by_label("Length of the window").first.evaluate("field => field.selectionStart") == 2
    page.get_by_label("Kind of condition").nth(1).select_option("has the attribute")
    page.get_by_label("attribute", exact=True).fill("platform")
    page.get_by_label("Comparison").select_option("one of")
    expect(page.locator("#e-1-0")).not_to_be_empty()  # what is missing is said beside the row
    page.get_by_label("value", exact=True).fill("mobile, tablet")
    expect(page.locator("#n-1-0")).not_to_be_empty()
    expect(page.locator("#rule-text")).to_have_value(RULE)
    members, as_of = total(page)
    assert members == counted(shop, as_of) > 0
    asked = muster.count(SHOP, RULE, exact=True)
    assert asked["members"] == counted(shop, asked["as_of"])
    page.get_by_role("button", name="Show five of them").click()
    expect(page.locator(".samples li")).to_have_count(min(members, 5))
    tab.check("builder-counted")
    page.locator("#as-text summary").click()
    page.locator("#rule-text").fill("age > 20")
    shown = page.locator("#total strong").inner_text()
    page.get_by_label("times", exact=True).fill("1")
    expect(page.locator("#total strong")).not_to_have_text(shown)
    expect(page.locator("#rule-text")).to_have_value("age > 20")  # not applied yet, nor lost to a count
    page.get_by_label("times", exact=True).fill("2")
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/builder/count", lambda route: late.append((route, fetched(route))), times=1)
    page.evaluate(PRESS_AT_ONCE, "x-1.1")
    page.locator("#r-1").press("Enter")
    expect(page.locator("body")).to_have_attribute("data-pressed", "x-1.1")
    expect(page.locator("[id='x-1.1']")).to_have_count(0)
    expect(page.locator("#total")).to_contain_text("Exact")
    [(route, response)] = late  # the count of the row that is gone: it fits no form, and the tab would say so
    with page.expect_event("requestfinished"):
        route.fulfill(response=response)
    expect(page.locator("#r-1")).to_be_focused()  # the button of the row is gone, so the keyboard goes on behind it
    expect(page.locator("#rule-text")).to_have_value(RULE)
    page.get_by_label("Name of the segment").fill("mobile-buyers")
    page.get_by_role("button", name="Create segment").click()
    expect(page.get_by_role("heading", name="mobile-buyers")).to_be_visible()
    expect(page.locator(".figure").first).to_contain_text(f"{members} member")  # live, from the workers of segments
    page.get_by_role("button", name="Edit rule").click()
    page.get_by_label("times", exact=True).fill("3")
    page.get_by_role("button", name="See what would change").press("Enter")
    expect(page.get_by_text("Would leave").first).to_be_visible()
    expect(page.get_by_role("button", name="See what would change")).to_be_focused()  # it rested meanwhile
    tab.check("builder-review")
