"""A browser that fails on unseen problems: errors in its console, scripts that throw, reports of the CSP, axe."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from muster import Client

AXE: Final = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS: Final = Path(__file__).parents[2] / ".browser"
WIDTHS: Final = (360, 768, 1280)
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
SCHEMES: Final[Mapping[Literal["light", "dark"], Mapping[str, Any]]] = {
    "light": {"type": "tag", "values": RULES},
    "dark": {"type": "rule", "values": ["color-contrast"]},
}
"""What axe is asked in each: in the dark only colours differ."""
TIMEOUT_MS: Final = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    found = shutil.which("chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    assert found, "install the package chromium (.ci/run does)"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """One tab. `expected`: texts of errors that a test brings about."""

    page: Page
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    origin: str = ""

    def enter(self, muster: Client) -> None:
        """Log in with a code."""
        url = muster.console_url()
        self.origin = url.removesuffix(urlsplit(url).path + "?" + urlsplit(url).query)
        self.page.goto(url)

    def visit(self, path: str) -> None:
        """Go to a page of the console."""
        self.page.goto(self.origin + path)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(text in message.text for text in self.expected):
            self.faults.append(f"{self.page.url}: {message.text}")

    def check(self, name: str) -> None:
        """Take pictures at three widths, and ask axe in both colour schemes."""
        for scheme, rules in SCHEMES.items():
            self.page.emulate_media(color_scheme=scheme)
            self.faults += [f"{name}, {scheme}: {fault}" for fault in violations(self.page, rules)]
        self.page.emulate_media(color_scheme="light")
        for width in WIDTHS:
            self.picture(name, width)
            wide: int = self.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                self.faults.append(f"{name} is {wide} px wide at {width} px")

    def picture(self, name: str, width: int) -> None:
        """Take a picture of the whole page."""
        SHOTS.mkdir(exist_ok=True)
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.screenshot(path=SHOTS / f"{name}-{width}.png", full_page=True)


def violations(page: Page, rules: Mapping[str, Any]) -> Sequence[str]:
    """What axe finds, with the first elements that it finds it in."""
    page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, {runOnly: rules})", dict(rules))
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes'][:3]]}" for one in found["violations"]
    ]


@contextmanager
def tab(browser: Browser, **given: Any) -> Iterator[Tab]:
    """A tab of a new reader; at its end, nothing may have been at fault."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, timezone_id="Asia/Tokyo", reduced_motion="reduce", **given
    )
    context.set_default_timeout(TIMEOUT_MS)
    made = Tab(context.new_page())
    made.page.on("console", lambda message: made.heard(message))  # noqa: PLW0108  # Playwright marks what it calls
    made.page.on("pageerror", lambda error: made.faults.append(f"{made.page.url}: {error}"))
    try:
        yield made
    finally:
        context.close()
    assert not made.faults, "\n".join(made.faults)
