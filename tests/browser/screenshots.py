"""`make screenshots`: the pictures of the docs and README.md, of a stack with the data of `make demo-console`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import Page, expect

from muster import Client
from muster.access import owner_access
from orchestration.cli.console import print_line
from orchestration.console.paths import PREFIX, in_tenant
from orchestration.entrypoints.demo_seed import is_seeded, seed
from orchestration.local import stack
from orchestration.platform.settings import Settings
from schemas.ids import DEFAULT_TENANT
from schemas.job_kinds import id_of
from tests.browser.driving import chromium, tab

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
HEIGHT: Final = 900
"""A longer page is cut here."""
MAX_BYTES: Final = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`shown`: what is there once the page is complete; `act`: what is done first."""

    name: str
    path: str
    shown: str
    act: Callable[[Page], None] = lambda _: None
    width: Literal[360, 768, 1280] = 1280
    dark: bool = False
    locale: str = "en-GB"


def _at(*parts: str, **query: str) -> str:
    return in_tenant(DEFAULT_TENANT, *parts, **query)


def pictures(muster: Client) -> list[Picture]:
    """Those that the docs show."""
    failed = id_of(next(muster.jobs(DEFAULT_TENANT, state=["FAILED"])))
    done = id_of(next(muster.jobs(DEFAULT_TENANT, state=["READY"], kind=["audience"], audience="customers")))
    buyer = muster.query(DEFAULT_TENANT, "SELECT min(user_id) FROM audience('buyers-snapshot')")["rows"][0][0]

    def look_up(page: Page) -> None:
        page.locator("[name=user]").fill(buyer)
        page.locator("[name=segment]").select_option("buyers")
        page.locator("main form button").first.click()

    builder: dict[str, Any] = {"path": _at("builder", segment="abandoned-carts"), "shown": "#total strong"}
    return [
        Picture(name="jobs", path=_at("jobs"), shown=".row"),
        Picture(name="job", path=_at("jobs", failed), shown=".steps"),
        Picture(name="receipt", path=_at("jobs", done), shown=".sum"),
        Picture(name="audience", path=_at("audiences", "customers"), shown=".version"),
        Picture(name="segment", path=_at("segments", "buyers"), shown="pre.rule"),
        Picture(name="builder", **builder),
        Picture(name="user", path=_at("users"), shown=".timeline", act=look_up),
        Picture(name="workers", path=f"{PREFIX}/workers", shown=".plot", dark=True),
        Picture(name="jobs-narrow", path=_at("jobs"), shown=".row", width=360, dark=True, locale="ja-JP"),
        Picture(name="builder-narrow", width=360, locale="ja-JP", **builder),
    ]


def main() -> int:
    """Write them; returns 1 if one is too large for a page of docs. Stops the stack if it has started it."""
    settings = Settings.load()
    ran = stack.status(settings).running
    settings = stack.up(settings, report=lambda _: None)
    try:
        with Client(owner_access(settings.home, settings.api_url)) as muster, chromium() as browser:
            muster.create_tenant(DEFAULT_TENANT)
            if not is_seeded(muster, DEFAULT_TENANT):
                folder = settings.home / "demo"
                folder.mkdir(exist_ok=True)
                seed(muster, DEFAULT_TENANT, folder, settings.kafka_bootstrap, say=print_line)
            large = False
            for one in pictures(muster):
                with tab(browser, locale=one.locale, color_scheme="dark" if one.dark else "light") as opened:
                    page, file = opened.page, IMAGES / f"console-{one.name}.png"
                    page.set_viewport_size({"width": one.width, "height": HEIGHT})
                    opened.enter(muster)
                    opened.visit(one.path)
                    one.act(page)
                    expect(page.locator(one.shown).first).to_be_visible()
                    expect(page.locator(".htmx-request")).to_have_count(0)
                    page.screenshot(path=file, clip=_clip(page, one.width), full_page=True)
                large |= file.stat().st_size > MAX_BYTES
                print_line(f"{file.name:<32}{file.stat().st_size:>9,} bytes")
    finally:
        if not ran:
            stack.down(settings)
    return int(large)


def _clip(page: Page, width: int) -> Any:
    height: int = page.evaluate("Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)")
    return {"x": 0, "y": 0, "width": width, "height": max(600, min(HEIGHT, height))}


if __name__ == "__main__":
    sys.exit(main())
