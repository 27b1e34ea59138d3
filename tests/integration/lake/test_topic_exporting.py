"""Versions of the lake to a topic: groups are read through DuckDB, and every read makes the same messages."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from connectors.sinks.kafka_topic import ChangedRows, end, send_group, start
from connectors.sinks.selection import Group, PinnedVersion, delta_groups, full_groups
from connectors.sinks.topic_export import TopicExport, totals
from connectors.storage.duck import batches, connect
from schemas.columns import Column, RowSchema
from schemas.ids import Version
from tests.fakes.import_log import InMemoryTopicLog
from tests.fakes.receivers import Receiver
from tests.fakes.topic_exports import EXPORT, topic_export
from tests.integration.lake.support import limits
from tests.integration.lake.test_exporting import KINDS, Lake, lake, naughty_rows

__all__ = ["lake"]  # a fixture
P = 3
SHARES = RowSchema(columns=(Column(name="share", type="double"),))


def rows_of(lake: Lake, group: Group, schema: RowSchema) -> Iterator[ChangedRows]:
    with connect(limits(lake.folder), lake.s3) as connection:
        for statement in group.preparation(schema, 2**20):
            connection.execute(statement)
        for selection in group.selections(schema):
            yield selection.change, batches(connection, selection.sql)


def sent(lake: Lake, export: TopicExport, groups: list[Group]) -> tuple[Receiver, InMemoryTopicLog, dict[Any, Any]]:
    """Run all steps, every group twice."""
    log = InMemoryTopicLog(P)
    start(export, log)
    done = [send_group(export, log, group=g.number, rows=rows_of(lake, g, export.columns)) for g in [*groups, *groups]]
    assert done[: len(groups)] == done[len(groups) :]
    end(export, log, done[: len(groups)])
    values = [value for partition in log.messages for value in partition]
    return Receiver().take(values), log, totals(export, done[: len(groups)])


def of_version(version: PinnedVersion) -> TopicExport:
    info = version.info
    return topic_export(P, version=info.version, snapshot_id=info.snapshot_id, columns=info.row_schema)


def test_a_version_reaches_a_receiver_with_its_digest(lake: Lake) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    groups = full_groups(version, group_bytes=1)
    assert len(groups) == len(version.parts) > 1
    receiver, _, digests = sent(lake, of_version(version), groups)
    assert digests == {None: version.info.digest}
    assert receiver.faults == []
    received = [dict(zip(KINDS.names, row, strict=True)) for _, row in receiver.finished[EXPORT]]
    assert sorted(received, key=lambda row: row["user_id"]) == sorted(naughty_rows(), key=lambda row: row["user_id"])


def test_topic_delta_turns_one_version_into_the_other(lake: Lake) -> None:
    before = [{"user_id": f"u{n}", "share": n / 7} for n in range(900)]
    after = [{**row, "share": -0.0 if n == 450 else row["share"]} for n, row in enumerate(before)][300:]
    base, version = (lake.publish(rows, SHARES, str(n)) for n, rows in enumerate((before, after), start=1))
    export = replace(of_version(version), base_version=Version(base.info.version))
    receiver, _, digests = sent(lake, export, delta_groups(version, base, group_bytes=1))
    assert base.info.digest - digests["removed"] + digests["added"] == version.info.digest
    members = {row["user_id"]: row["share"] for row in before}
    for change, (user, share) in receiver.finished[EXPORT]:
        if change == "removed":
            assert members.pop(user) == share
        else:
            members[user] = share
    assert members == {row["user_id"]: row["share"] for row in after}


def test_every_reading_of_a_version_makes_equal_messages(lake: Lake) -> None:
    version = lake.publish([{"user_id": f"user-{n:07d}", "share": n / 3} for n in range(120_000)], SHARES, "1")
    groups = full_groups(version, group_bytes=1 << 40)
    _, log, _ = sent(lake, of_version(version), groups)
    for messages in log.messages:
        first = (len(messages) - 2) // 2
        assert first > 4
        assert messages[1 : first + 1] == messages[first + 1 : -1]
