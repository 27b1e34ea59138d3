"""A client that holds nothing but a token: from a file on its disk to the files of an export, and back a version."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from muster import Access, ApiError, Client
from schemas.ids import job_id
from tests.faults.waiting import until
from tests.integration.whole.conftest import PARTITIONS, Whole

pytestmark = pytest.mark.integration
TENANT = "served"


@pytest.fixture
def muster(whole: Whole) -> Iterator[Client]:
    settings = whole.context.settings
    token = (settings.home / "api" / "token").read_text().strip()
    with Client(Access(url=settings.api_url, token=token)) as client:
        client.create_tenant(TENANT)
        yield client


def ended(muster: Client, id_: str, tenant: str = TENANT) -> dict[str, Any]:
    """A job when it has ended."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        try:
            found.update(muster.job(tenant, id_))
        except ApiError as exc:
            if exc.code != "UNKNOWN_JOB":  # it is registered within seconds
                raise
            return False
        return found["finished_at"] is not None

    until(has_ended, f"job {id_} has ended")
    return found


def done(muster: Client, operation: str) -> dict[str, Any]:
    """An operation when it was carried out."""
    until(lambda: muster.operation(TENANT, operation)["state"] in {"done", "failed"}, f"operation {operation} is done")
    return dict(muster.operation(TENANT, operation))


def test_client_imports_exports_and_rolls_back_a_file(muster: Client, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    for number, users in enumerate((b"ann\nbob\n", b"ann\nbob\neve\n"), 1):
        file.write_bytes(b"user_id\n" + users)
        started = muster.import_file(TENANT, file, audience="vip", key=f"import {number}")
        assert muster.import_file(TENANT, file, audience="vip", key=f"import {number}") == started
        job = ended(muster, str(started["job"]))
        assert (job["state"], job["error"], job["outcome"]["version"]) == ("READY", None, number)
    exported = muster.start_export(TENANT, audience="vip", to="download", format="csv")
    assert ended(muster, str(exported["export"]))["state"] == "READY"
    files = muster.export_files(TENANT, str(exported["export"]))
    contents = [urlopen(one["url"]).read() for one in files["items"]]  # of our own store
    assert [hashlib.sha256(one).hexdigest() for one in contents] == [one["sha256"] for one in files["items"]]
    assert sorted(b"".join(contents).split()) == [b"ann", b"bob", b"eve", *[b"user_id"] * len(contents)]
    rolled = done(muster, str(muster.roll_back(TENANT, "vip", 1, reason="eve is no member")["operation"]))
    assert (rolled["state"], rolled["result"]["version"], rolled["result"]["members"]) == ("done", 3, 2)
    assert [one["version"] for one in muster.versions(TENANT, "vip")] == [3, 2, 1]
    etag = muster.audience_with_etag(TENANT, "vip")[1]
    renamed = muster.rename_audience(TENANT, "vip", "gold", etag=etag)
    assert done(muster, str(renamed["operation"]))["state"] == "done"
    assert next(iter(muster.versions(TENANT, "gold")))["version"] == 3


def test_documented_upload_runs(
    muster: Client, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    _, example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    settings = whole.context.settings
    monkeypatch.setenv("MUSTER_API_URL", settings.api_url)
    monkeypatch.setenv("MUSTER_TOKEN", (settings.home / "api" / "token").read_text().strip())
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text("user_id\nann\n")
    muster.create_tenant("documented")
    for _ in range(2):
        exec(example.replace('"default"', '"documented"'), {})  # our own documentation
    first, second = capsys.readouterr().out.split()
    assert first == second
    assert ended(muster, first, "documented")["state"] == "READY"


def test_service_cancels_an_import_without_kafka(muster: Client, whole: Whole, tmp_path: Path) -> None:
    """The control plane sends the abort markers: the job is swept, so the workers have been notified."""
    file = tmp_path / "people.csv"
    file.write_bytes(b"user_id\n" + b"".join(b"u%07d\n" % number for number in range(20_000)))
    id_ = job_id(muster.import_file(TENANT, file, audience="cancelled")["job"])
    until(lambda: whole.context.jobs.find(id_) is not None, "the job is registered")
    cancelled = muster.cancel(TENANT, id_)
    assert (cancelled["state"], cancelled["warnings"]) == ("CANCELLED", [])
    assert muster.cancel(TENANT, id_)["already"]
    until(lambda: id_ not in {job.job_id for job in whole.context.jobs.to_sweep(2**62)}, "the job is swept")


@pytest.mark.faults("e2e/test_segments.py is the journey of segments", seconds=20)
def test_segment_of_imported_events_matches_its_rule(muster: Client, tmp_path: Path) -> None:
    muster.create_segment(TENANT, "buyers", 'count("order", 30d) >= 2')
    file, now = tmp_path / "orders.csv", datetime.now(UTC).isoformat(timespec="seconds")
    file.write_text("user_id,event,occurred_at\n" + "".join(f"{user},order,{now}\n" for user in ("ann", "ann", "bob")))
    assert ended(muster, str(muster.import_file(TENANT, file, kind="events")["job"]))["state"] == "READY"
    until(lambda: muster.segment(TENANT, "buyers")["members"] == 1, "the workers have counted")
    checked = done(muster, str(muster.begin_segment_check(TENANT, "buyers", timeout_s=60)["operation"]))
    assert (checked["state"], checked["error"]) == ("done", None)
    assert [checked["result"][name] for name in ("equal", "by_rule", "by_stream")] == [True, 1, 1]


def test_workers_and_their_lag_are_sampled_and_streamed(muster: Client) -> None:
    """Two workers of imports, one of segments, the committer of the archive."""
    wanted = {("muster-materialiser", "muster.imports", 2), ("muster-segments", "muster.events", 1)}
    wanted |= {("muster-archive", "muster.archive", 1)}

    def newest(members: list[int | None]) -> int | None:
        """Of the newest sample: the present ten seconds may have none yet."""
        return next((count for count in reversed(members) if count is not None), None)

    def sampled() -> set[tuple[str, str, int | None]]:
        return {(one["group"], one["topic"], newest(one["members"])) for one in muster.samples()["items"]}

    until(lambda: wanted <= sampled(), "all have been sampled")
    listed = {(one["group"], one["worker"]) for one in muster.workers()["items"]}
    streamed: dict[str, dict[str, Any]] = {}
    for event in muster.deployment_events(kind=["worker", "lag"]):
        if event["kind"] == "ready":
            break
        streamed[str(event["id"])] = dict(event["value"] or {})
    assert listed == {(one["group"], one["worker"]) for one in streamed.values() if "worker" in one}
    lag = streamed["muster-materialiser/muster.imports"]
    assert (lag["members"], len(lag["partitions"])) == (2, PARTITIONS)
