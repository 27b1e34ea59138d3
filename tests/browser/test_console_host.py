"""Access to the console, also from pages of other users of the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, expect

from muster import Client
from orchestration.cli.console_page import PAGE
from orchestration.platform.settings import Settings
from tests.browser.conftest import Open
from tests.browser.driving import tab

pytestmark = pytest.mark.browser


@contextmanager
def another_user() -> Iterator[tuple[int, list[str]]]:
    """The port of a page on this machine, and all headers that it has received."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(str(self.headers))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>Holiday pictures</title>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of its base
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], received
    server.shutdown()
    server.server_close()


def test_a_page_on_another_port_receives_neither_the_session_nor_the_host(open_console: Open) -> None:
    opened = open_console("/console", locale="en-GB")
    page, host = opened.page, opened.origin.removeprefix("http://")
    (cookie,) = [one for one in page.context.cookies() if one["name"].startswith("muster-")]
    with another_user() as (port, received):
        for name in ("127.0.0.1", "localhost", "x.localhost"):
            page.evaluate("url => location.assign(url)", f"http://{name}:{port}/")  # as by a link in the console
            expect(page).to_have_title("Holiday pictures")
            opened.visit("/console")
    assert len(received) >= 3
    assert cookie["value"] not in "".join(received)
    assert host.partition(":")[0] not in "".join(received)


def test_file_opens_a_page_that_opens_the_console(browser: Browser, muster: Client, tmp_path: Path) -> None:
    file = tmp_path / "console.html"
    file.write_text(PAGE.format(url=muster.console_url(confirm=True)))
    with tab(browser, locale="en-GB") as opened:
        opened.page.goto(file.as_uri())
        expect(opened.page.get_by_text("You will work as owner")).to_be_visible()
        opened.check("open")
        opened.page.get_by_role("button", name="Open", exact=True).click()
        expect(opened.page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()


def test_api_address_explains_how_to_open_the_console(browser: Browser, settings: Settings) -> None:
    with tab(browser, locale="en-GB") as opened:
        opened.expected += ["421"]
        opened.page.goto(settings.api_url)
        expect(opened.page.get_by_text("Run `muster console`, which opens the right one.")).to_be_visible()
        opened.check("wrong-host")
