"""What analysts see: audiences read as docs/querying.md describes, with pyiceberg alone, again and again during faults.

A reader takes the newest version of an audience with all its rows and compares it with the versions that may exist: the
published ones, and the one that the running import makes. Anything else is a violation.
"""

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import sqlalchemy.exc as sa_exc
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError

from orchestration.platform.settings import Settings
from tests.faults.files import Members

TRIES: Final = 30
PAUSE_SHARE: Final = 2.0
"""A reader rests this many times as long as it has read: the imports need the processor too."""
OUTAGES: Final = (OSError, sa_exc.DBAPIError, sa_exc.TimeoutError)
"""Errors of a server that is down. A missing file is not an outage: see `Reader._run`."""
SCHEMA: Final = pa.schema([("user_id", pa.string()), ("age", pa.int64()), ("country", pa.string())])


def as_table(members: Members) -> pa.Table:
    """Members as sorted rows: user_id, age, country."""
    rows = sorted((user, age, country) for user, (age, country) in members.items())
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@dataclass
class Published:
    """The versions of one audience that may be seen, by number. `at_least`: the newest one known to exist."""

    name: str
    versions: dict[int, pa.Table] = field(default_factory=dict)
    at_least: int = 0

    def expect(self, members: Members, *, imports: int = 1) -> None:
        """Expect the versions that the next imports may make, all of these members."""
        table = as_table(members)
        self.versions |= {self.at_least + n: table for n in range(1, imports + 1)}


class Lake:
    """Tables as a client of the catalog finds them, with pyiceberg and without Muster.

    Its methods raise `OUTAGES` when a server is down or was down since the last call: connections are kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._catalog: Any = load_catalog(
            "muster",
            **{
                "type": "sql",
                "uri": settings.catalog_url.reveal(),
                "s3.endpoint": settings.s3_endpoint,
                "s3.region": settings.s3_region,
                "s3.access-key-id": settings.s3_access_key,
                "s3.secret-access-key": settings.s3_secret_key.reveal(),
            },
        )

    def close(self) -> None:
        """Close the connections to the catalog."""
        self._catalog.engine.dispose()

    def newest(self, audience: str) -> tuple[int, pa.Table] | None:
        """Number and sorted rows of the current version. None if no version exists yet."""
        try:
            table = self._catalog.load_table(f"default.{audience}")
        except NoSuchTableError:
            return None
        current = table.current_snapshot()
        if current is None:
            return None
        [tag] = [n for n, ref in table.refs().items() if ref.snapshot_id == current.snapshot_id and n.startswith("v")]
        return int(tag[1:]), rows_of(table, current.snapshot_id)

    def version(self, audience: str, number: int) -> pa.Table:
        """Sorted rows of one version."""
        table = self._catalog.load_table(f"default.{audience}")
        return rows_of(table, table.snapshot_by_name(f"v{number}").snapshot_id)

    def tags(self, audience: str) -> Mapping[str, int]:
        """Snapshot ids by name, without the branch `main`."""
        try:
            refs = self._catalog.load_table(f"default.{audience}").refs()
        except NoSuchTableError:
            return {}
        return {name: ref.snapshot_id for name, ref in refs.items() if name != "main"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is visible of an audience at one time: the newest version, an earlier one, and the names of all."""

    newest: tuple[int, pa.Table] | None
    before: pa.Table | None
    tags: frozenset[str]


def view(lake: Lake, audience: str, before: int) -> View:
    """Everything to check after an import. Retries, as servers may have only just come back."""
    for tries in itertools.count(1):
        try:
            return View(
                newest=lake.newest(audience),
                before=lake.version(audience, before) if before else None,
                tags=frozenset(lake.tags(audience)),
            )
        except FileNotFoundError:
            raise
        except OUTAGES:
            if tries == TRIES:
                raise
            time.sleep(1)
    raise AssertionError


def rows_of(table: Any, snapshot_id: int) -> pa.Table:
    """Every row of a snapshot, sorted. Columns that the audience does not have are null."""
    rows = table.scan(snapshot_id=snapshot_id).to_arrow()
    columns = [
        rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA).sort_by("user_id").combine_chunks()


class Reader:
    """A thread that reads while it is open. `violations`: what it saw and must not exist, each once."""

    def __init__(self, settings: Settings, audiences: Sequence[Published]) -> None:
        self.reads = 0
        self.outages = 0
        self.violations: dict[str, None] = {}
        self._audiences = audiences
        self._seen: dict[str, int] = {}
        self._lake = Lake(settings)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._lake.close()

    def _run(self) -> None:
        pause_s = 0.1
        while not self._closing.wait(pause_s):
            began = time.monotonic()
            for audience in self._audiences:
                try:
                    self._look(audience)
                except FileNotFoundError as exc:
                    self._violated(audience, f"a file of the visible version is gone: {exc}")
                except OUTAGES:
                    self.outages += 1
                except Exception as exc:  # noqa: BLE001 - no reader should see any error
                    self._violated(audience, f"{type(exc).__name__}: {exc}")
            pause_s = 0.05 + PAUSE_SHARE * (time.monotonic() - began)

    def _violated(self, audience: Published, what: str) -> None:
        self.violations[f"{audience.name}: {what}"] = None

    def _look(self, audience: Published) -> None:
        before = max(audience.at_least, self._seen.get(audience.name, 0))
        found = self._lake.newest(audience.name)
        self.reads += 1
        problem = fault_of(audience, found, at_least=before)
        if problem is not None:
            self._violated(audience, problem)
        if found is not None:
            self._seen[audience.name] = max(before, found[0])


def fault_of(audience: Published, found: tuple[int, pa.Table] | None, *, at_least: int) -> str | None:
    """What is wrong with what a reader saw, or None. `at_least`: the newest version that it had seen or known of."""
    if found is None:
        return f"no version, after v{at_least}" if at_least else None
    number, rows = found
    if number < at_least:
        return f"v{number} after v{at_least}"
    expected = audience.versions.get(number)
    if expected is None:
        return f"v{number} is a version without an import"
    return None if rows.equals(expected) else f"v{number} has {len(rows)} rows that are not its {len(expected)}"
