"""The console: how long its first pages take and weigh, and what 200 open pages cost while nothing changes."""

import gzip
import http.client
import re
import time
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks.measure import Measured, Result
from benchmarks.setting import Setting
from muster import Client
from muster.access import owner_access
from orchestration.entrypoints.demo_seed import seed
from orchestration.local import stack
from orchestration.platform.settings import Settings

TENANT: Final = "console-bench"
PAGES: Final = ("jobs", "audiences", "audiences/customers", "segments", "segments/buyers", "builder", "schedules")
REPEAT: Final = 20
PAGE_S: Final = 0.3
PAGE_KB: Final = 150
PEOPLE: Final = 20
PAGES_EACH: Final = 10
OPEN_MIB: Final = 120
OPEN_CORE: Final = 0.1
WATCHED_S: Final = 30
PAUSE_S: Final = 0.1  # a principal may send 20 requests a second
MIB: Final = 1024 * 1024
ASSET: Final = re.compile(r'(?:href|src)="(/console/static/[^"]+)"')


def run(setting: Setting) -> list[Result]:
    """Measure on a tenant with the data of `make demo-console`."""
    settings = setting.settings
    access = owner_access(settings.home, settings.api_url)
    with Client(access) as muster:
        seed(muster, TENANT, setting.scratch, settings.kafka_bootstrap, say=lambda _: None)
        tokens = [_viewer(muster, number) for number in range(PEOPLE)]
    return [*_pages(settings, access.token), *_open_pages(settings, tokens)]


def _viewer(muster: Client, number: int) -> str:
    principal = muster.create_principal(f"viewer {number}", kind="service")["principal"]
    grants = muster.grants(TENANT)
    roles = {one["principal"]: one["roles"] for one in grants["items"]} | {principal: ["viewer"]}
    muster.replace_grants(TENANT, roles, etag=grants["etag"])
    return muster.create_service_token(TENANT, principal, "bench", roles=["viewer"])["secret"]


def _pages(settings: Settings, token: str) -> list[Result]:
    """The slowest page at its median, and the heaviest with all its files: what a browser without a cache fetches."""
    slowest, heaviest, at, whose = 0.0, 0, "", ""
    connection = _connection(settings)
    for page in PAGES:
        path, times = f"/console/tenants/{TENANT}/{page}", list[float]()
        for _ in range(REPEAT):
            began = time.monotonic()
            body, sent = _fetched(connection, path, token)
            times.append(time.monotonic() - began)
            time.sleep(PAUSE_S)
        assets = set(ASSET.findall(body.decode()))
        weight = sent + sum(_fetched(connection, asset, token)[1] for asset in assets)
        if (median := sorted(times)[REPEAT // 2]) > slowest:
            slowest, at = median, page
        if weight > heaviest:
            heaviest, whose = weight, page
    return [
        _result(f"slowest of {len(PAGES)} pages", f"< {PAGE_S:g} s", slowest < PAGE_S, at, wall_s=slowest),
        _result(
            "heaviest page on the wire",
            f"< {PAGE_KB} KB",
            heaviest < PAGE_KB * 1000,
            f"{heaviest / 1000:.0f} KB with its files: {whose}",
        ),
    ]


def _fetched(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[bytes, int]:
    """A body, and its bytes on the wire without headers. Raises AssertionError."""
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    sent = answer.read()
    assert answer.status == 200, (path, answer.status)
    return gzip.decompress(sent) if answer.getheader("Content-Encoding") == "gzip" else sent, len(sent)


def _open_pages(settings: Settings, tokens: list[str]) -> list[Result]:
    """The streams of open pages: memory that the service takes more, and its share of a core."""
    service = _service(settings)
    before = service.memory_info().rss
    with ExitStack() as opened:
        for token in tokens:
            for _ in range(PAGES_EACH):
                connection = _connection(settings)
                opened.callback(connection.close)
                connection.request(
                    "GET", f"/v1/tenants/{TENANT}/events?kind=job", headers={"Authorization": f"Bearer {token}"}
                )
                answer = connection.getresponse()
                assert answer.status == 200
                while b"event: ready" not in answer.readline():  # the present state of everything has come
                    pass
                time.sleep(PAUSE_S)
        cpu, began = sum(service.cpu_times()[:2]), time.monotonic()
        time.sleep(WATCHED_S)
        share = (sum(service.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        taken, whole = service.memory_info().rss - before, service.memory_info().rss
    label = f"{len(tokens) * PAGES_EACH} open pages"
    note = f"{taken / MIB:.0f} MiB more, {whole / MIB:.0f} MiB in all"
    return [
        _result(f"{label}: memory", f"< {OPEN_MIB} MiB", taken < OPEN_MIB * MIB, note, peak=whole),
        _result(f"{label}: processor", f"< {OPEN_CORE:.0%} of a core", share < OPEN_CORE, f"{share:.1%} of a core"),
    ]


def _connection(settings: Settings) -> http.client.HTTPConnection:
    parts = urlsplit(settings.api_url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)


def _service(settings: Settings) -> psutil.Process:
    return psutil.Process(next(part.pid for part in stack.status(settings).parts if part.name == "api"))


def _result(label: str, target: str, met: bool, note: str, *, wall_s: float = 1.0, peak: int = 0) -> Result:  # noqa: FBT001
    best = Measured(rows=1, wall_s=wall_s, cpu_s=0.0, peak_bytes=peak)
    return Result(benchmark="console", label=label, best=best, target=target, met=met, note=note)
