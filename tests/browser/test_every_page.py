"""Every page of the console at three widths, in both languages: axe, errors of the browser, English among Japanese."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page, expect

from connectors.kafka.logon import librdkafka_config
from muster import Client
from orchestration.console.application import PAGES
from orchestration.console.paths import IN_TENANT, OPEN, PREFIX, in_tenant
from orchestration.entrypoints.demo_seed import MADE_LAST
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.ids import Partition
from schemas.job_kinds import id_of
from schemas.messages import DeadLetter
from schemas.topics import DEAD_LETTERS, EVENTS
from tests.browser.conftest import SHOP
from tests.browser.driving import Tab, tab

pytestmark = pytest.mark.browser


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Names in the tenant with data."""

    muster: Client
    failed: str
    download: str
    upload: str


Path_ = str | Callable[[Shop], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """How a page is reached. `shown`: what is there once it is complete; `act`: what is done first."""

    path: Path_
    shown: str
    act: Callable[[Page], None] = lambda _: None


def _look_up(page: Page) -> None:
    page.locator("[name=user]").fill("user_0001")
    page.locator("[name=segment]").select_option("buyers")
    page.locator("main form button").first.click()


def _make_token(page: Page) -> None:
    page.locator("main [name=name]").fill("laptop")
    page.locator("[name=role_viewer]").check()
    page.locator("main form[action$='/tokens/new'] button").click()


def _send_test(page: Page) -> None:
    page.locator(".recipient button").first.click()


def _open_first(page: Page) -> None:
    page.locator("main .row a").first.click()


def _open_letters(page: Page) -> None:
    page.locator("form.card summary").first.click()


def _at(*parts: str) -> str:
    return in_tenant(SHOP, *parts)


VISITS: Final[Mapping[str, Visit]] = {
    f"{PREFIX}/login": Visit(path=f"{PREFIX}/login?return_to=/console", shown="pre"),
    OPEN: Visit(
        path=lambda shop: f"{OPEN}?{urlsplit(shop.muster.console_url(confirm=True)).query}", shown="main button"
    ),
    f"{IN_TENANT}/feeds": Visit(path=_at("feeds"), shown=".row"),
    f"{IN_TENANT}/search": Visit(path=f"{_at('search')}?q=s", shown="#found a"),
    f"{IN_TENANT}/overview": Visit(path=_at("overview"), shown=".row"),
    f"{IN_TENANT}/jobs": Visit(path=_at("jobs"), shown=".row"),
    f"{IN_TENANT}/jobs/{{job}}": Visit(path=lambda shop: _at("jobs", shop.failed), shown=".steps"),
    f"{IN_TENANT}/jobs/{{job}}/rejects": Visit(path=lambda shop: _at("jobs", shop.failed, "rejects"), shown="td"),
    f"{IN_TENANT}/audiences": Visit(path=_at("audiences"), shown=".row"),
    f"{IN_TENANT}/audiences/{{audience}}": Visit(path=_at("audiences", "customers"), shown=".version"),
    f"{IN_TENANT}/audiences/{{audience}}/differences": Visit(
        path=f"{_at('audiences', 'customers', 'differences')}?earlier=1&later=2", shown="#difference .card"
    ),
    f"{IN_TENANT}/audiences/{{audience}}/settings": Visit(
        path=_at("audiences", "customers", "settings"), shown="form.card"
    ),
    f"{IN_TENANT}/audiences/{{audience}}/export": Visit(
        path=_at("audiences", "customers", "export"), shown="form.card"
    ),
    f"{IN_TENANT}/jobs/{{job}}/files": Visit(path=lambda shop: _at("jobs", shop.download, "files"), shown="td a"),
    f"{IN_TENANT}/segments": Visit(path=_at("segments"), shown=".row"),
    f"{IN_TENANT}/segments/{{segment}}": Visit(path=_at("segments", "buyers"), shown="pre.rule"),
    f"{IN_TENANT}/segments/{{segment}}/export": Visit(path=_at("segments", "buyers", "export"), shown="form.card"),
    f"{IN_TENANT}/builder": Visit(path=f"{_at('builder')}?segment=abandoned-carts", shown="#total strong"),
    f"{IN_TENANT}/users": Visit(path=_at("users"), shown="form"),
    f"{IN_TENANT}/users/found": Visit(path=_at("users"), shown=".timeline", act=_look_up),
    f"{IN_TENANT}/schedules": Visit(path=_at("schedules"), shown=".row"),
    f"{IN_TENANT}/schedules/new": Visit(path=f"{_at('schedules', 'new')}?kind=export", shown="#times strong"),
    f"{IN_TENANT}/schedules/{{schedule}}/edit": Visit(path=_at("schedules", MADE_LAST, "edit"), shown="#times strong"),
    f"{IN_TENANT}/upload": Visit(path=_at("upload"), shown=".drop"),
    f"{IN_TENANT}/uploads/{{upload}}": Visit(path=lambda shop: _at("uploads", shop.upload), shown="#start, table"),
    f"{IN_TENANT}/audit": Visit(path=_at("audit"), shown=".row"),
    f"{IN_TENANT}/connections": Visit(path=_at("connections"), shown="pre"),
    f"{IN_TENANT}/overlap": Visit(
        path=f"{_at('overlap')}?of=audience('customers')&of=segment('buyers')", shown="#overlap table"
    ),
    f"{IN_TENANT}/sql": Visit(path=_at("sql"), shown="#sql"),
    f"{IN_TENANT}/grants": Visit(path=_at("grants"), shown="form"),
    f"{IN_TENANT}/recipients": Visit(path=_at("recipients"), shown=".outcome .notice", act=_send_test),
    f"{IN_TENANT}/consent": Visit(path=_at("consent"), shown="form"),
    f"{IN_TENANT}/tokens": Visit(path=_at("tokens"), shown="form"),
    f"{IN_TENANT}/tokens/new": Visit(path=_at("tokens"), shown=".notice.good", act=_make_token),
    f"{PREFIX}/workers": Visit(path=f"{PREFIX}/workers", shown=".plot"),
    f"{PREFIX}/dead-letters": Visit(path=f"{PREFIX}/dead-letters", shown="form.card", act=_open_letters),
    f"{PREFIX}/dead-letters/{{letter}}": Visit(path=f"{PREFIX}/dead-letters/0", shown="pre"),
    f"{PREFIX}/notifications": Visit(path=f"{PREFIX}/notifications", shown="main section, main .row"),
    f"{PREFIX}/people": Visit(path=f"{PREFIX}/people", shown=".row"),
    f"{PREFIX}/people/{{principal}}": Visit(path=f"{PREFIX}/people", shown="dl", act=_open_first),
    f"{PREFIX}/places": Visit(path=f"{PREFIX}/places", shown="textarea"),
    f"{PREFIX}/grants": Visit(path=f"{PREFIX}/grants", shown=".row"),
}
"""By route. The two that a form leads to are pages as well."""
NO_PAGES: Final = frozenset(
    {
        *("/", PREFIX, f"{PREFIX}/events", f"{PREFIX}/static/{{path:path}}"),
        *(f"{IN_TENANT}/jobs/new", f"{IN_TENANT}/jobs/{{job}}/row", f"{IN_TENANT}/jobs/{{job}}/part"),
        *(f"{IN_TENANT}/jobs/{{job}}/rejects/file", f"{IN_TENANT}/jobs/{{job}}/files/{{file}}"),
        *(f"{IN_TENANT}/jobs/{{job}}/started", f"{IN_TENANT}/audiences/{{audience}}/operations/{{operation}}"),
        *(f"{IN_TENANT}/segments/{{segment}}/now", f"{IN_TENANT}/segments/{{segment}}/row"),
        *(f"{IN_TENANT}/builder/names", f"{IN_TENANT}/uploads/{{upload}}/checks/{{operation}}"),
        f"{IN_TENANT}/recipients/tests/{{operation}}",
        *(
            f"{PREFIX}/workers/part",
            f"{IN_TENANT}/overlap/counts",
            f"{IN_TENANT}/audiences/{{audience}}/differences/{{operation}}",
        ),
    }
)
"""Routes that redirect, or answer with a part of a page or a file."""
ENGLISH: Final = re.compile(r"(?!JSON Lines|AWS CLI)\b[A-Za-z]{2,} [A-Za-z]{2,}")
WORDS: Final = """() => {
  const copy = document.querySelector("main").cloneNode(true);
  for (const one of copy.querySelectorAll("[lang=en], code, pre, .code, textarea, svg, datalist")) one.remove();
  return document.title + "\\n" + copy.textContent;
}"""


def test_every_page_has_a_visit() -> None:
    routes = {route.path for module in PAGES for route in module.ROUTES}
    read = {route.path for module in PAGES for route in module.ROUTES if "GET" in (route.methods or ())}
    assert read - VISITS.keys() == NO_PAGES
    assert VISITS.keys() <= routes


@pytest.fixture(scope="module")
def names(shop: Path, muster: Client, settings: Settings) -> Shop:
    letter = DeadLetter(
        topic=EVENTS,
        partition=Partition(3),
        offset=7,
        key=b"u1",
        value=b'{"tenant": "ghost"}',
        reason="unknown_tenant: ghost",
        failed_at_us=1,
    )
    producer = Producer(librdkafka_config(settings.kafka_bootstrap))
    producer.produce(DEAD_LETTERS, CODEC.encode(letter))
    assert producer.flush(60) == 0
    failed = id_of(next(muster.jobs(SHOP, state=["FAILED"])))
    return Shop(
        muster=muster,
        failed=failed,
        download=id_of(next(muster.jobs(SHOP, kind=["export"]))),
        upload=muster.send_file(SHOP, shop / "customers.csv")["upload"],
    )


@pytest.fixture(scope="module")
def tabs(browser: Browser, muster: Client) -> Iterator[Mapping[str, Tab]]:
    """A tab for each language. Both are used by all tests: a fault says on which page it was."""
    with tab(browser, locale="en-GB") as english, tab(browser, locale="ja-JP") as japanese:
        for one in (english, japanese):
            one.enter(muster)
        yield {"en": english, "ja": japanese}


@pytest.mark.parametrize("route", VISITS)
def test_page_is_accessible_fits_and_is_localised(route: str, names: Shop, tabs: Mapping[str, Tab]) -> None:
    visit = VISITS[route]
    path = visit.path if isinstance(visit.path, str) else visit.path(names)
    name = re.sub(r"\W+", "-", route.removeprefix(PREFIX).removeprefix("/tenants/{tenant}")).strip("-")
    for language, one in tabs.items():
        one.page.set_viewport_size({"width": 1280, "height": 900})
        one.visit(path)
        visit.act(one.page)
        expect(one.page.locator(visit.shown).first).to_be_visible()
        expect(one.page.locator(".htmx-request")).to_have_count(0)
        if language == "en":
            one.check(name)
        else:
            one.picture(f"{name}-ja", 1280)
            assert not ENGLISH.findall(one.page.evaluate(WORDS)), name
    faults = [fault for one in tabs.values() for fault in one.faults]
    for one in tabs.values():
        one.faults.clear()
    assert not faults, "\n".join(faults)
