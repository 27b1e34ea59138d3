"""The site of the documentation, opened as files: its search finds pages, and nothing is asked of other addresses."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from docs_site.__main__ import build
from docs_site.pages import DOCS, PAGES, ROOT, LinkedFileError

pytestmark = pytest.mark.browser
SEARCHES = {
    "verified export": "start.html",
    "text_after_quote": "file-formats.html",
    "reject share": "cli.html",
    "TOO_MANY_REJECTS": "troubleshooting.html",
    "backslash quotes": "troubleshooting.html",
    "dead letters replay": "reference/commands.html",
    "pyiceberg": "querying.html",
    "idempotency key": "api.html",
    "Start Import": "reference/api/jobs.html",
    "SCRAM": "events.html",
}
"""What a reader types, and the page that must be among the first `TOP` results."""
TOP = 10


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert build(folder) == 0
    return folder / "site"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab that reaches files alone, and fails on errors of scripts."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    yield opened
    context.close()
    assert (refused, faults) == ([], [])


def test_ten_searches_find_their_pages(site: Path, page: Page) -> None:
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Control+k")
    asked = page.get_by_role("combobox", name="Search")
    for words, wanted in SEARCHES.items():
        asked.fill(words)
        found = page.locator(f'a[href*="h={quote_plus(words)}"]')
        expect(found.nth(0)).to_be_attached()
        places = [urlsplit(str(link.get_attribute("href"))).path for link in found.all()[:TOP]]
        assert any(place.endswith(f"/{wanted}") for place in places), (words, places)


def test_a_broken_link_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("schemas", "muster", "orchestration", *PAGES):
        (tmp_path / name).symlink_to(ROOT / name)
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs)
    monkeypatch.setattr("docs_site.pages.ROOT", tmp_path)
    monkeypatch.setattr("docs_site.pages.DOCS", docs)
    page, whole = docs / "filters.md", (docs / "filters.md").read_text(encoding="utf-8")
    page.write_text(f"{whole}\n[nothing](no-such-page.md)\n", encoding="utf-8")
    with pytest.raises(LinkedFileError, match=r"docs/filters.md links to no-such-page.md"):
        build(tmp_path / "built")
    page.write_text(f"{whole}\n[nothing](rules.md#no-such-heading)\n", encoding="utf-8")
    assert build(tmp_path / "built") != 0
