from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser

from orchestration.client import Access, Client
from orchestration.platform.settings import Settings
from tests.browser.driving import Tab, chromium, tab
from tests.conftest import PARTS, StartStack

Open = Callable[..., Tab]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    return start_module_stack(parts=(*PARTS, "api"))


@pytest.fixture(scope="module")
def muster(settings: Settings) -> Iterator[Client]:
    token = (settings.home / "api" / "token").read_text().strip()
    with Client(Access(url=settings.api_url, token=token)) as client:
        client.create_tenant("default")
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def open_console(browser: Browser, muster: Client) -> Iterator[Open]:
    """`open_console(locale="ja-JP")`: a tab of the owner, logged in by a code."""
    with ExitStack() as opened:

        def start(**given: Any) -> Tab:
            made = opened.enter_context(tab(browser, **given))
            made.page.goto(muster.console_url())
            return made

        yield start
