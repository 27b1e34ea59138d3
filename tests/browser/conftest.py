"""One stack, with the data of `make demo-console` in a tenant of its own; and tabs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from playwright.sync_api import Browser

from connectors.kafka.logon import librdkafka_config
from muster import Client
from muster.access import owner_access
from orchestration.entrypoints.demo_seed import seed
from orchestration.local.parts import SEGMENT_WORKER
from orchestration.platform.settings import Settings
from tests.browser.driving import Tab, chromium, tab
from tests.conftest import PARTS, stacks

Open = Callable[..., Tab]
SHOP: Final = "shop"
"""The tenant with data, which tests leave as it is; `default` is empty at first."""


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with stacks(tmp_path_factory.mktemp("browser-stack")) as start:
        yield start(parts=(*PARTS, SEGMENT_WORKER, "api"), partitions=4, worker_session_timeout_s=6)


@pytest.fixture(scope="session")
def muster(settings: Settings) -> Iterator[Client]:
    with Client(owner_access(settings.home, settings.api_url)) as client:
        client.create_tenant("default")
        yield client


@pytest.fixture(scope="session")
def shop(muster: Client, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `clicks.csv` and `profiles.csv` of the tenant with data."""
    folder = tmp_path_factory.mktemp("shop")
    seed(muster, SHOP, folder, settings.kafka_bootstrap, say=lambda _: None)
    places, etag = muster.places_with_etag()
    others = [one for one in places["items"] if one["tenant"] != SHOP]
    muster.replace_places([*others, {"tenant": SHOP, "places": ["kafka://shop.buyers"]}], etag=etag)
    admin = AdminClient(librdkafka_config(settings.kafka_bootstrap))
    for made in admin.create_topics([NewTopic("shop.buyers", 2, 1)]).values():
        made.result(30)
    muster.create_feed(SHOP, "crm", "buyers", "kafka://shop.buyers")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def open_console(browser: Browser, muster: Client) -> Iterator[Open]:
    """`open_console("/console/...", locale="ja-JP")`: a tab of the owner, logged in by a code."""
    with ExitStack() as opened:

        def start(path: str = "", **given: Any) -> Tab:
            made = opened.enter_context(tab(browser, **given))
            made.enter(muster)
            if path:
                made.visit(path)
            return made

        yield start
