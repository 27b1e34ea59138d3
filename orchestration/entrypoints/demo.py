"""`python -m orchestration.entrypoints.demo`: two imports from file to Parquet, compared with the generated data.

1. Start the stack, unless it is running; `--stack running` uses the one in the settings, for example in containers.
2. Generate two files from a seed: 1,000,000 rows with faults in them, and 300,000 clean ones. Their contents are
   counted while they are written, in plain Python, without any code of the import.
3. Put the large one into the inbox bucket, where an S3 event starts its import; upload the small one. Both imports run
   at the same time.
4. Print receipts, rejects, versions.
5. Export both to S3 as Parquet with a manifest, verify them against the manifest, and count them with DuckDB.
6. Compare everything; any difference means an exit code of 1.
"""

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from connectors.storage.duck import DuckLimits, connect
from muster.records import Record
from orchestration.answers.rejects import kept_rejects, some_rejects
from orchestration.catalog.records import Export
from orchestration.catalog.references import ref_of
from orchestration.cli.admin.stack import owner_console
from orchestration.cli.console import print_line, print_table, show_error
from orchestration.cli.formatting import duration, number, size
from orchestration.cli.job_facts import ended
from orchestration.cli.receipts import print_receipt
from orchestration.cli.rendering import job_line, job_lines
from orchestration.cli.screen import screen
from orchestration.cli.spec_changes import spec_changes
from orchestration.composition.administration import received_exports
from orchestration.composition.context import Context
from orchestration.kinds.export.request import ExportRequest
from orchestration.local import stack
from orchestration.operations.job_records import view_record
from orchestration.operations.rejects import rejects_file
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.errors import MusterError, RetriableError
from schemas.ids import DEFAULT_TENANT, AudienceName, JobId
from schemas.import_spec import ImportSpec
from schemas.layout import split_s3_uri
from schemas.manifest import MANIFEST_NAME, ExportFormat, Manifest
from schemas.records import as_record
from segmentation.export_jobs import ENDED

SEED: Final = 20_260_101
LARGE_ROWS: Final = 1_000_000
SMALL_ROWS: Final = 300_000
LARGE: Final = AudienceName("demo-people")
SMALL: Final = AudienceName("demo-clean")
FAULT_EVERY: Final = 500
"""One row in this many is faulty: 0.2 %, with 1 % allowed."""
TIMEOUT_S: Final = 600.0
POLL_S: Final = 0.25


@dataclass(slots=True)
class Expected:
    """Contents of a generated file, counted while it was written."""

    rows: int = 0
    rejected_by_code: dict[str, int] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)
    """The last age of each accepted user."""

    @property
    def rejected(self) -> int:
        """Faulty rows."""
        return sum(self.rejected_by_code.values())


def generate(path: Path, rows: int, *, faults: bool) -> Expected:
    """Write a seeded CSV `user_id,age,country`: 2 % of the rows repeat a user, and with `faults` some are broken."""
    chance = random.Random(SEED + rows)  # noqa: S311  # reproducible on purpose
    expected = Expected(rows=rows)
    users: list[str] = []
    with path.open("wb") as file:
        file.write(b"user_id,age,country\n")
        for row in range(rows):
            age = chance.randrange(18, 90)
            country = ("de", "jp", "fr", "br")[age % 4].encode()
            if faults and row % FAULT_EVERY == FAULT_EVERY - 1:
                code, line = _fault(chance.randrange(4), b"%016x" % chance.getrandbits(64), country)
                expected.rejected_by_code[code] = expected.rejected_by_code.get(code, 0) + 1
                file.write(line)
                continue
            repeat = users and chance.random() < 0.02
            user = chance.choice(users) if repeat else f"{chance.getrandbits(64):016x}"
            if not repeat:
                users.append(user)
            expected.ages[user] = age
            file.write(b"%s,%d,%s\n" % (user.encode(), age, country))
    return expected


def _fault(kind: int, user: bytes, country: bytes) -> tuple[str, bytes]:
    """(code of the reject, a faulty row)."""
    return (
        ("id_empty", b",33,%s\n" % country),
        ("field_count", b"%s,33,%s,\n" % (user, country)),
        ("invalid_utf8", b"%s,33,\xff\xfe\n" % user),
        ("bad_value", b"%s,unknown,%s\n" % (user, country)),
    )[kind]


def run(context: Context, directory: Path) -> list[str]:
    """Run steps 2 to 6; returns the differences."""
    _print("2. generating two files")
    large, small = directory / "people.csv", directory / "clean.csv"
    expected = {LARGE: generate(large, LARGE_ROWS, faults=True), SMALL: generate(small, SMALL_ROWS, faults=False)}
    for path in (large, small):
        print_line(f"   {path}  {size(path.stat().st_size)}")
    print_line(f"   {number(expected[LARGE].rejected)} of the {number(LARGE_ROWS)} rows of the first are faulty")

    inbox = context.settings.inbox_prefix
    _print(f"3. the first goes to s3://{context.settings.inbox_bucket}/{inbox}, the second is uploaded")
    _prepare(context)
    key = f"{inbox}{DEFAULT_TENANT}/{LARGE}/people-{fresh_id()}.csv"
    context.objects.put_file(large, context.settings.inbox_bucket, key)
    second = context.submission.submit_file(small, tenant=DEFAULT_TENANT, audience=SMALL, overrides={})
    both = _follow(context, key, second)

    _print("4. receipts, rejects, versions")
    differences = []
    for job in both:
        name, job_id = job["audience"], job["job"]
        receipt = context.jobs.receipt(job_id)
        if receipt is None:
            why = "" if job["error"] is None else f": {job['error']['code']}: {job['error']['message']}"
            differences.append(f"{name}: job {job_id} is {job['state']}{why}")
            continue
        print_receipt(receipt)
        print_line("")
        differences += _compare_receipt(dict(receipt), expected[name])
        if (
            file := rejects_file(job_id, jobs=context.jobs, objects=context.objects, settings=context.settings)
        ) is not None:
            _print_rejects(file)
    if differences:
        return differences
    _print_versions(context)

    _print("5. export as Parquet with a manifest; verified from the manifest alone, and counted by DuckDB")
    for name, known in expected.items():
        exported = _export(context, name)
        if exported.outcome is None:
            why = "" if exported.error is None else f": {exported.error.summary}"
            differences.append(f"{name}: export {exported.job_id} is {exported.state}{why}")
            continue
        manifest, difference = received_exports(context).verify(exported.outcome["manifest"])
        if difference is not None:
            differences.append(f"{name}: {difference}")
            continue
        folder = directory / name
        _fetch(context, exported.request["to"], manifest, folder)
        counted = _count(context.duck_limits, folder)
        print_line(f"   {exported.outcome['manifest']}  {size(exported.outcome['bytes'])}, all numbers match;")
        print_line(f"   copied to {folder}: {number(counted[0])} rows, {number(counted[1])} users")
        wanted = (len(known.ages), len(known.ages), sum(known.ages.values()))
        if counted != wanted:
            differences.append(
                f"{name}: the export has (rows, users, sum of ages) {counted}, the generated file {wanted}"
            )
    return differences


def _prepare(context: Context) -> None:
    """Audiences with the columns of the files; the first tolerates 1 % of bad rows."""
    for name, share in ((LARGE, 0.01), (SMALL, 0.0)):
        changes = spec_changes(columns=["age:long", "country"], max_reject_share=share, allow_shrink=True)
        audience = context.audiences.ensure(DEFAULT_TENANT, name, new_id=fresh_id(), now_ms=now_ms())
        spec = ImportSpec().with_changes(changes)
        context.audiences.configure(audience.audience_id, spec=spec, retention=audience.retention)


def _follow(context: Context, key: str, second: JobId) -> Sequence[Record]:
    """Show both imports until both have ended. Raises `RetriableError` DEMO_TOO_SLOW."""
    deadline = time.monotonic() + TIMEOUT_S
    with screen() as place:
        while True:
            found = next((j for j in context.jobs.search(audience=LARGE) if j.source["key"] == key), None)
            jobs = [*([found.job_id] if found is not None else []), second]
            views = [context.job_progress.view(job, now_ms()) for job in jobs]
            shown = [as_record(view_record(view, [], {})) for view in views if view is not None]
            lines = [line for job in shown for line in job_lines(job)]
            place.show(lines, " | ".join(map(job_line, shown)) or "waiting for the workflow")
            if len(shown) == 2 and all(ended(job) for job in shown):
                return shown
            if time.monotonic() > deadline:
                raise RetriableError("DEMO_TOO_SLOW", f"not finished after {TIMEOUT_S:.0f} s; see `muster jobs list`")
            time.sleep(POLL_S)


def _compare_receipt(receipt: dict[str, Any], known: Expected) -> Iterator[str]:
    accepted = known.rows - known.rejected
    wanted = {
        "rows": known.rows,
        "accepted": accepted,
        "rejected": known.rejected,
        "rejected_by_code": known.rejected_by_code,
        "duplicates": accepted - len(known.ages),
        "members": len(known.ages),
    }
    for name, value in wanted.items():
        if receipt[name] != value:
            yield f"{receipt['audience']}: the receipt has {name} {receipt[name]}, the generated file {value}"


def _print_rejects(file: bytes) -> None:
    rows = some_rejects(file, code=None, skip=0, limit=5)
    print_line(f"the first {len(rows)} of {number(kept_rejects(file))} rejects")
    print_table(("LINE", "CODE", "REASON"), [(r["line"], r["code"], r["reason"]) for r in rows], right=("LINE",))
    print_line("")


def _print_versions(context: Context) -> None:
    rows = [
        (name, f"v{info.version}", info.mode, number(info.members), info.import_id)
        for name in (LARGE, SMALL)
        for info in context.versions.versions(ref_of(context.audiences.get(DEFAULT_TENANT, name)))
    ]
    print_table(("AUDIENCE", "VERSION", "MODE", "MEMBERS", "IMPORT"), rows, right=("MEMBERS",))


def _export(context: Context, audience: AudienceName) -> Export:
    """Export the current version with a job, and wait for its end."""
    export_id = fresh_id()
    request = ExportRequest(
        export_id=export_id,
        tenant=DEFAULT_TENANT,
        audience=audience,
        to=f"s3://{context.settings.lake_bucket}/exports/{export_id}",
        format=ExportFormat(format="parquet"),
    )
    jobs = context.export_jobs
    jobs.submit(request)
    jobs.await_registration(export_id)
    while (export := context.exports.get(export_id)).state not in ENDED:
        time.sleep(POLL_S)
    return export


def _fetch(context: Context, address: str, manifest: Manifest, folder: Path) -> None:
    """Copy an export with its manifest to an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bucket, prefix = split_s3_uri(address)
    for name in (*(file.key for file in manifest.files), MANIFEST_NAME):
        context.s3.client().download_file(bucket, f"{prefix}/{name}", str(folder / name))


def _count(limits: DuckLimits, folder: Path) -> tuple[int, int, int]:
    with connect(limits) as connection:
        query = "select count(*), count(distinct user_id), sum(age)::bigint from read_parquet(?)"
        row = connection.execute(query, [f"{folder}/*.parquet"]).fetchone()
    assert row is not None  # noqa: S101  # an aggregate always gives a row
    return int(row[0]), int(row[1]), int(row[2])


def _print(text: str) -> None:
    print_line("")
    print_line(text, style="bold")


def main() -> int:
    """Run the demo; returns 0 if nothing differs."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.entrypoints.demo")
    parser.add_argument("--stack", choices=("embedded", "running"), default="embedded")
    elsewhere = parser.parse_args().stack == "running"
    began = time.monotonic()
    settings = Settings.load()
    running = elsewhere or stack.status(settings).running
    _print(
        "1. the stack is already running"
        if running
        else f"1. starting Kafka, S3, the workflow and a worker in {settings.home}"
    )
    try:
        if not elsewhere:
            settings = stack.up(settings, report=lambda part: print_line(f"   {part.name:<10} {part.state}"))
        context = Context(settings)
        context.audiences.add_tenant(DEFAULT_TENANT, now_ms())
        if not elsewhere and (url := owner_console(settings)) is not None:
            print_line(f"   watch it in the console: {url} (works once, within a minute)")
        directory = settings.home / "demo"
        directory.mkdir(exist_ok=True)
        differences = run(context, directory)
    except MusterError as exc:
        show_error(exc)
        return 1
    finally:
        if not running:
            stack.down(settings)
    _print(f"6. comparison with the generated files, after {duration(time.monotonic() - began)}")
    for difference in differences:
        print_line(f"   DIFFERS  {difference}", style="red")
    if not differences:
        print_line("   all numbers match: no user was lost")
    if not elsewhere:
        print_line("   `make demo-console` leaves a stack running with data, to look around in")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
