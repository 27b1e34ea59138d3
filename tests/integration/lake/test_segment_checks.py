"""The control plane's check over a real archive: compares the (simulated) stream's answer with the rule."""

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.storage.writing import put_if_absent
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.operations import segment_check
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Secret, Settings
from schemas.columns import RowSchema
from schemas.counters import Counters
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName, Partition, Version
from schemas.layout import cut_key, s3_uri
from schemas.row_digest import digest_rows
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import EVENTS
from tests.fakes.catalog import migrated
from tests.fakes.rules import new_rule
from tests.integration.lake.archiving import ACME, Bucket, event

P = 4
BUYERS = AudienceName("buyers")


def announce(context: Context) -> None:
    for due in context.activations.unsent():
        context.activations.mark_sent(due, [0] * P, 1)


@pytest.fixture
def context(bucket: Bucket, catalog_url: str, tmp_path: Path) -> Iterator[Context]:
    migrated(Secret(catalog_url))
    context = Context(
        Settings(
            home=tmp_path,
            catalog_url=Secret(catalog_url),
            s3_endpoint=bucket.s3.endpoint,
            s3_access_key=bucket.s3.access_key,
            s3_secret_key=Secret(bucket.s3.secret_key),
            lake_bucket=bucket.name,
            staging_bucket=bucket.name,
            partitions=P,
            kafka_bootstrap="127.0.0.1:1",
        )
    )
    context.audiences.add_tenant(ACME, 1)
    rule = new_rule("ever(order)")
    context.segments.create(ACME, BUYERS, rule, new_id=fresh_id(), author="ann", now_ms=1)
    announce(context)
    yield context
    context.archive.close()
    context.database.close()


class Stream:
    """Answers cuts as workers would: at each partition's end of the archive, with these members."""

    def __init__(self, context: Context, bucket: Bucket, members: dict[int, list[str]]) -> None:
        self._context = context
        self._bucket = bucket
        self.members = members

    def cuts(
        self, _: Settings, request: CutRequested, __: float, *, only: Partition | None = None
    ) -> Sequence[SegmentCut]:
        return [self._cut(request, Partition(p)) for p in range(P) if only in {None, p}]

    def _cut(self, request: CutRequested, partition: Partition) -> SegmentCut:
        mine, part = self.members.get(partition, []), None
        if mine:
            out = io.BytesIO()
            pq.write_table(pa.table({"user_id": mine}), out)
            key = cut_key(request.cut_id, partition, hashlib.sha256(out.getvalue()).hexdigest())
            part = s3_uri(self._bucket.name, key)
            put_if_absent(self._bucket.s3.client(), self._bucket.name, key, out.getvalue())
        return SegmentCut(
            cut_id=request.cut_id,
            tenant=request.tenant,
            segment=request.segment,
            rule_version=1,
            partition=partition,
            partitions=P,
            at_us=request.at_us,
            events=self._context.archive.archived_to(EVENTS).get(partition, 0),
            profiles=0,
            activations=0,
            changes=0,
            generation=0,
            members=len(mine),
            digest=digest_rows(pa.table({"user_id": pa.array(mine, pa.string())}), RowSchema()),
            part=part,
        )


def test_difference_in_one_partition_is_reported_until_fixed(
    context: Context, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right: dict[int, list[str]] = {p: [f"user-{p}-{n}" for n in range(3)] for p in range(P)}
    for p, users in right.items():
        rows: list[Any] = [event(n, user) for n, user in enumerate(users)]
        context.archive.append(EVENTS, [bucket.write(0, 10, rows, partition=Partition(p))])
    stream = Stream(context, bucket, right | {2: ["user-2-0", "user-2-9"]})
    monkeypatch.setattr(segment_check, "ask_for_cuts", stream.cuts)
    counters = Counters()
    checks = control_plane.segment_checks(context, counters)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            checks.tick()
        assert (caplog.text, [one.value for one in checks.samples()]) == ("", [0])
        for _ in range(2):
            checks.tick()
    assert "partition 2 as of" in caplog.text
    assert "the stream lacks 2 users and has 1 too many" in caplog.text
    assert "user-2" not in caplog.text
    assert [one.value for one in checks.samples()] == [3]
    stream.members = right
    for _ in range(2):
        checks.tick()
    assert [one.value for one in checks.samples()] == [0]
    assert {sample.labels: sample.value for sample in counters.samples()} == {("different",): 2, ("equal",): 4}
    assert bucket.keys("segments/") == set()


def test_partition_check_reads_only_its_partition(
    context: Context, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for p in range(P):
        context.archive.append(EVENTS, [bucket.write(0, 10, [event(1, f"user-{p}")], partition=Partition(p))])
    monkeypatch.setattr(segment_check, "ask_for_cuts", Stream(context, bucket, {1: ["user-1"]}).cuts)
    found = context.segment_check.run(ACME, BUYERS, 10, only=Partition(1)).comparison
    assert (found.equal, found.by_rule) == (True, 1)
    found = context.segment_check.run(ACME, BUYERS, 10).comparison
    assert (found.missing, found.missing_users) == (3, ("user-0", "user-2", "user-3"))


def test_check_waits_until_workers_know_the_rules(
    context: Context, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        announce(context)

    monkeypatch.setattr(segment_check, "ask_for_cuts", Stream(context, bucket, {}).cuts)
    context.segments.pause(ACME, BUYERS, now_ms=2)
    context.segments.resume(ACME, BUYERS, now_ms=3)
    assert context.segment_check.run(ACME, BUYERS, 10, sleep).comparison.equal
    assert len(waits) == 1
    vip = context.audiences.ensure(ACME, AudienceName("vip"), new_id=fresh_id(), now_ms=1)
    context.activations.choose(vip.audience_id, Version(1), None)
    with pytest.raises(RetriableError, match="SEGMENT_NOT_READY: workers have not yet been notified"):
        context.segment_check.run(ACME, BUYERS, 0, sleep)
    context.activations.mark_audience_sent(vip.audience_id, Version(1))
    assert context.segment_check.run(ACME, BUYERS, 10).comparison.equal


def test_referenced_segment_paused_and_resumed_during_a_check_needs_another(
    context: Context, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = AudienceName("fans")
    rule = new_rule("in segment buyers")
    context.segments.create(ACME, fans, rule, new_id=fresh_id(), author="ann", now_ms=1)
    announce(context)
    stream = Stream(context, bucket, {})

    def cuts(*given: Any, **only: Any) -> Sequence[SegmentCut]:
        context.segments.pause(ACME, BUYERS, now_ms=2)
        context.segments.resume(ACME, BUYERS, now_ms=3)
        return stream.cuts(*given, **only)

    monkeypatch.setattr(segment_check, "ask_for_cuts", cuts)
    with pytest.raises(RetriableError, match="SEGMENT_CHANGED"):
        context.segment_check.run(ACME, fans, 10)


def test_check_of_a_paused_segment_is_refused_immediately(context: Context) -> None:
    context.segments.pause(ACME, BUYERS, now_ms=2)
    with pytest.raises(UserError, match="SEGMENT_PAUSED"):
        context.segment_check.run(ACME, BUYERS, 600)


def test_unreachable_broker_is_an_outage(context: Context) -> None:
    with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE: requesting a cut"):
        context.segment_check.run(ACME, BUYERS, 0)
