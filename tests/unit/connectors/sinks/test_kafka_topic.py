"""Exports to a topic, on an in-memory log, read by the receivers' script."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest

from connectors.publishing.ports import Delivery
from connectors.sinks.kafka_topic import REFUSED_BY_TOPIC, abort, end, partitions_of, send_group, start
from connectors.sinks.topic_addresses import topic_of
from connectors.sinks.topic_export import ExportAttempt, GroupSent, totals
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.digest import Digest
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import Partition
from schemas.messages import ExportAborted, ExportChunk, ExportEnded, ExportStarted
from schemas.partitioning import partition_of
from schemas.records import from_record
from schemas.row_digest import digest_rows
from schemas.rows import chunk_fault, decode_rows
from schemas.topics import CHUNK_MAX_ROWS, OWN_PREFIX, TOPICS
from tests.fakes.import_log import InMemoryTopicLog
from tests.fakes.receivers import Receiver, script
from tests.fakes.topic_exports import EXPORT, SCHEMA, Row, batches, delta, export_all, topic_export, whole

P = 4
LOW: list[Row] = [(f"a{n:05d}", n, None if n % 3 else f"note {n}") for n in range(22_000)]
HIGH: list[Row] = [(f"b{n:05d}", None, "") for n in range(3_000)]


def values(log: InMemoryTopicLog) -> list[bytes]:
    return [value for partition in log.messages for value in partition]


def of_rows(rows: list[Row]) -> Digest:
    return Digest.total(
        SCHEMA.schema_id,
        (digest_rows(b.select(arrow_schema(SCHEMA).names), SCHEMA) for b in batches(rows)),
    )


def code_of(error: type[MusterError], act: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    return caught.value.code


@pytest.mark.parametrize("name", ["vip", "crm.vip_users-2", "a" * 249, "Muster.x", "muster", "..."])
def test_a_destination_names_a_topic(name: str) -> None:
    assert topic_of(f"kafka://{name}") == name


@pytest.mark.parametrize(
    "uri",
    [
        *(
            f"kafka://{name}"
            for name in ("", ".", "..", "a/b", "host:9092/t", "ä", "a b", "a\n", "?x", "a" * 250, "kafka://t")
        ),
        *("kafka:t", "s3://b/t", "vip", "KAFKA://vip"),
    ],
)
def test_invalid_topic_destination_is_refused(uri: str) -> None:
    assert code_of(UserError, lambda: topic_of(uri)) == "BAD_URI"


@pytest.mark.parametrize(
    "name", [*(t.name for t in TOPICS), "muster.mine", "__consumer_offsets", "__transaction_state"]
)
def test_internal_topics_take_no_export(name: str) -> None:
    assert code_of(UserError, lambda: topic_of(f"kafka://{name}")) == "DESTINATION_NOT_WRITABLE"


def test_every_product_topic_has_the_prefix() -> None:
    assert all(topic.name.startswith(OWN_PREFIX) for topic in TOPICS)


def test_topic_export_sends_the_version_in_chunks_between_markers() -> None:
    log = InMemoryTopicLog(P)
    sent = export_all(topic_export(), log, [whole(LOW), whole(HIGH)])

    users: list[str] = []
    for number in range(P):
        started, *chunks, ended = log.decoded(number)
        assert isinstance(started, ExportStarted)
        assert (started.partition, started.partitions, started.columns, started.base_version) == (
            number,
            P,
            SCHEMA,
            None,
        )
        places = []
        for chunk in chunks:
            assert isinstance(chunk, ExportChunk)
            batch = decode_rows(chunk.rows)
            assert chunk_fault(chunk, batch, SCHEMA) is None
            assert (chunk.change, chunk.partition) == (None, number)
            mine = batch.column("user_id").to_pylist()
            assert mine == sorted(mine)
            assert {partition_of(user, P) for user in mine} == {number}
            users += mine
            places.append((chunk.group, chunk.seq))
        assert places == sorted(places)
        assert places[0] == (0, 0)
        assert ended == ExportEnded(
            export_id=EXPORT,
            attempt=topic_export().attempt,
            partition=Partition(number),
            partitions=P,
            chunks=(sum(g == 0 for g, _ in places), sum(g == 1 for g, _ in places)),
            records=sum(group.partitions[number].records for group in sent),
            digest=sent[0].partitions[number].digest + sent[1].partitions[number].digest,
            removed=Digest(schema_id=SCHEMA.schema_id),
        )
    assert sorted(users) == [row[0] for row in LOW + HIGH]
    assert totals(topic_export(), sent) == {None: of_rows(LOW + HIGH)}
    assert (sent[0].rows, sent[1].rows) == (len(LOW), len(HIGH))

    receiver = Receiver().take(values(log))
    assert receiver.faults == []
    assert sorted(row for _, row in receiver.finished[EXPORT]) == LOW + HIGH


def test_sent_group_round_trips_through_json() -> None:
    log = InMemoryTopicLog(P)
    export = topic_export(base=2)
    start(export, log)
    sent = send_group(export, log, group=0, rows=delta(LOW[:100], HIGH[:50]))
    assert from_record(GroupSent, json.loads(json.dumps(sent.as_record()))) == sent
    assert sent.as_record()["rows"] == 150


def test_empty_export_is_complete() -> None:
    log = InMemoryTopicLog(P)
    assert export_all(topic_export(), log, []) == []
    assert Receiver().take(values(log)).finished == {EXPORT: []}


def test_delta_separates_removals_and_repeats_changed_members() -> None:
    log = InMemoryTopicLog(P)
    added, removed = [("both", 2, None), ("new", 1, None)], [("both", 1, None), ("gone", 1, "x")]
    sent = export_all(topic_export(base=2), log, [delta(added, removed), delta([], []), delta(LOW, HIGH)])
    assert totals(topic_export(base=2), sent) == {"added": of_rows(added + LOW), "removed": of_rows(removed + HIGH)}

    changes = Receiver().take(values(log)).finished[EXPORT]
    kinds = [change for change, _ in changes]
    assert kinds == ["removed"] * (2 + len(HIGH)) + ["added"] * (2 + len(LOW))
    members = {row[0]: row for row in [*removed, *HIGH]}
    for change, row in changes:
        if change == "removed":
            assert members.pop(row[0]) == row
        else:
            members[row[0]] = row
    assert sorted(members.values()) == sorted(added + LOW)


def test_rows_of_the_wrong_kind_are_a_programming_error() -> None:
    for export, rows in ((topic_export(), delta(LOW, HIGH)), (topic_export(base=2), whole(LOW))):
        with pytest.raises(ValueError, match="in an export of"):
            send_group(export, InMemoryTopicLog(P), group=0, rows=rows)


def records_of(log: InMemoryTopicLog) -> list[dict[str, object]]:
    """Users and their rows by partition, None for a tombstone. A user has one message."""
    found: list[dict[str, object]] = []
    for messages in log.keyed:
        (first, *rows, last) = messages
        assert first[0] is last[0] is None
        found.append({str(key, "utf-8"): None if value is None else json.loads(value) for key, value in rows if key})
        assert len(found[-1]) == len(rows)
    return found


def json_received(
    log: InMemoryTopicLog, times: int = 1
) -> tuple[list[tuple[dict[str, object], dict[str, object]]], list[str]]:
    """What the receivers' script makes of the messages, each of which comes so often; and its complaints."""
    exports, done = script("consume_json_export").Exports(), []
    for partition, messages in enumerate(log.keyed):
        first, *rows, last = messages
        for key, value in [first, *rows * times, *[last] * times]:
            if (complete := exports.take(EXPORT, partition, key, value)) is not None:
                done.append(complete)
    return done, exports.faults


def test_json_has_a_record_of_each_user_between_markers() -> None:
    log = InMemoryTopicLog(P)
    export = topic_export(json=True)
    sent = export_all(export, log, [whole(LOW), whole(HIGH)])
    assert totals(export, sent) == {None: of_rows(LOW + HIGH)}
    parts = records_of(log)
    for number, rows in enumerate(parts):
        assert {partition_of(user, P) for user in rows} == {number}
        started, ended = (json.loads(log.keyed[number][k][1] or b"") for k in (0, -1))
        assert (started["type"], ended["type"]) == ("io.muster.export.started", "io.muster.export.ended")
        assert started["data"]["columns"] == [{"name": "age", "type": "long"}, {"name": "note", "type": "string"}]
        assert (ended["data"]["records"], ended["data"]["removed"]) == (len(rows), 0)
    expected = {user: {"user_id": user, "age": age, "note": note} for user, age, note in LOW + HIGH}
    assert {user: row for rows in parts for user, row in rows.items()} == expected
    for times in (1, 2):
        [(started, rows)], faults = json_received(log, times)
        assert (started["version"], started["base_version"], rows, faults) == (3, None, expected, [])


def test_json_delta_has_tombstones_of_those_who_left_alone() -> None:
    log = InMemoryTopicLog(P)
    export = topic_export(base=2, json=True)
    changed = [(user, 1, None) for user, _, _ in LOW[::2]]
    sent = export_all(export, log, [delta(changed, LOW), delta(HIGH[:5], HIGH[5:])])
    assert totals(export, sent) == {"added": of_rows([*changed, *HIGH[:5]]), "removed": of_rows(LOW + HIGH[5:])}
    expected: dict[str, object] = {user: None for user, _, _ in LOW + HIGH}
    expected |= {user: {"user_id": user, "age": age, "note": note} for user, age, note in [*changed, *HIGH[:5]]}
    assert {user: row for rows in records_of(log) for user, row in rows.items()} == expected
    [(_, rows)], faults = json_received(log)
    assert (rows, faults) == (expected, [])


def test_json_receiver_reports_lost_records_and_drops_an_aborted_export() -> None:
    log = InMemoryTopicLog(1)
    export = topic_export(1, json=True)
    export_all(export, log, [whole(HIGH)])
    del log.keyed[0][7]
    done, [fault] = json_received(log)
    assert (done, f"{len(HIGH) - 1} rows" in fault) == ([], True)
    aborted = InMemoryTopicLog(1)
    start(export, aborted)
    send_group(export, aborted, group=0, rows=whole(HIGH))
    abort(ExportAttempt(export_id=EXPORT, partitions=1, json=True), aborted, reason="CANCELLED")
    assert json_received(aborted) == ([], [])


def test_resent_group_reaches_every_receiver_once() -> None:
    log = InMemoryTopicLog(P)
    export = topic_export()

    def killed(rows: int) -> None:
        if rows == len(LOW):  # full chunks are already sent, the last ones are not
            raise KeyboardInterrupt

    start(export, log)
    with pytest.raises(KeyboardInterrupt):
        send_group(export, log, group=0, rows=whole(LOW, 4_000), on_rows=killed)
    assert log.abandoned
    left = sum(isinstance(CODEC.decode(value), ExportChunk) for value in values(log))
    assert 0 < left < 2 * P
    start(export, log)
    sent = [send_group(export, log, group=0, rows=whole(LOW, 777)), send_group(export, log, group=1, rows=whole(HIGH))]
    end(export, log, sent)
    end(export, log, sent)
    receiver = Receiver().take(values(log))
    assert receiver.faults == []
    assert sorted(row for _, row in receiver.finished[EXPORT]) == LOW + HIGH


def test_lost_changed_or_added_chunk_is_detected_at_the_end_marker() -> None:
    log = InMemoryTopicLog(1)
    export_all(topic_export(1), log, [whole(LOW), whole(HIGH)])
    clean = log.messages[0]
    chunks = [number for number, value in enumerate(clean) if isinstance(CODEC.decode(value), ExportChunk)]
    assert len(chunks) == -(-len(LOW) // CHUNK_MAX_ROWS) + 1
    for number in chunks:
        lost = Receiver().take(clean[:number] + clean[number + 1 :])
        assert (lost.finished, len(lost.faults)) == ({}, 1)
        assert "missing or too many" in lost.faults[0]
        assert lost.take(clean).finished == {}  # it stays incomplete: another attempt must come
    forged = [*clean[:2], clean[1].replace(b"a00000", b"a0000x", 1), *clean[3:]]
    assert "are missing" in Receiver().take(forged).faults[0]
    changed = [clean[0], clean[1].replace(b"a00000", b"a0000x", 1), *clean[2:]]
    assert "its rows have digest" in Receiver().take(changed).faults[0]
    shorter = InMemoryTopicLog(1)
    export_all(topic_export(1), shorter, [whole(LOW)])
    assert "missing or too many" in Receiver().take([*clean[:-1], shorter.messages[0][-1]]).faults[0]
    ended = log.decoded(0)[-1]
    assert isinstance(ended, ExportEnded)
    for wrong in (replace(ended, digest=of_rows(LOW)), replace(ended, removed=of_rows(HIGH))):
        assert "digest (" in Receiver().take([*clean[:-1], CODEC.encode(wrong)]).faults[0].replace("removed", "digest")


def test_newer_attempt_replaces_an_aborted_one() -> None:
    log = InMemoryTopicLog(P)
    first, second = topic_export(), topic_export(attempt=2)
    start(first, log)
    zombie = send_group(first, log, group=0, rows=whole(LOW))
    abort(first, log, reason="CANCELLED")
    end(first, log, [zombie])  # it does not know of the abort
    assert Receiver().take(values(log)).finished == {}
    export_all(second, log, [whole(HIGH)])
    end(first, log, [zombie])
    receiver = Receiver().take(values(log))
    assert receiver.faults == []
    assert [row for _, row in sorted(receiver.finished[EXPORT])] == HIGH
    kinds = [type(CODEC.decode(value)) for value in values(log)]
    assert kinds.count(ExportAborted) == P


def test_newer_attempt_replaces_an_older_one_without_an_abort() -> None:
    log = InMemoryTopicLog(P)
    start(topic_export(), log)
    old = send_group(topic_export(), log, group=0, rows=whole(LOW))
    start(topic_export(attempt=2), log)
    start(topic_export(), log)  # a zombie, too late
    end(topic_export(), log, [old])
    abort(topic_export(), log, reason="FAILED")
    new = send_group(topic_export(attempt=2), log, group=0, rows=whole(HIGH))
    end(topic_export(attempt=2), log, [new])
    receiver = Receiver().take(values(log))
    assert receiver.faults == []
    assert [row for _, row in sorted(receiver.finished[EXPORT])] == HIGH


def test_export_without_its_start_is_skipped() -> None:
    log = InMemoryTopicLog(1)
    export_all(topic_export(1), log, [whole(LOW)])
    receiver = Receiver().take(log.messages[0][1:])
    assert (receiver.finished, receiver.faults) == ({}, [])


def test_partition_without_its_start_leaves_the_export_unfinished_without_a_fault() -> None:
    log = InMemoryTopicLog(2)
    export_all(topic_export(2), log, [whole(LOW)])
    receiver = Receiver().take(log.messages[0] + log.messages[1][2:])
    assert (receiver.finished, receiver.faults) == ({}, [])


def test_finished_export_is_reported_once() -> None:
    log, again = InMemoryTopicLog(P), InMemoryTopicLog(P)
    export_all(topic_export(), log, [whole(HIGH)])
    export_all(topic_export(attempt=2), again, [whole(HIGH)])
    receiver = Receiver().take(values(log)).take(values(log)).take(values(again))
    assert (len(receiver.finished[EXPORT]), receiver.faults) == (len(HIGH), [])


def test_other_messages_on_the_topic_are_skipped() -> None:
    log = InMemoryTopicLog(1)
    export_all(topic_export(1), log, [whole(HIGH)])
    noisy = [value for own in log.messages[0] for value in (b"", b"{}", b"\xc3\x01", b"\xc3\x01" + bytes(8), own)]
    assert len(Receiver().take(noisy).finished[EXPORT]) == len(HIGH)


def test_end_markers_wait_for_exactly_one_copy_of_every_group() -> None:
    log = InMemoryTopicLog(P)
    export = topic_export()
    start(export, log)
    first, second = (send_group(export, log, group=g, rows=whole(rows)) for g, rows in enumerate((LOW, HIGH)))
    other = [
        send_group(topic_export(attempt=2), InMemoryTopicLog(P), group=0, rows=whole(LOW)),
        send_group(topic_export(2), InMemoryTopicLog(2), group=0, rows=whole(LOW)),
    ]
    for groups in ([second], [first, first], [first, second, second], [other[0], second], [other[1]]):
        assert code_of(FatalError, partial(end, export, log, groups)) == "EXPORT_MISMATCH"
    assert ExportEnded not in {type(CODEC.decode(value)) for value in values(log)}
    end(export, log, [second, first])
    assert Receiver().take(values(log)).faults == []


def test_topic_with_a_changed_partition_count_takes_only_an_abort() -> None:
    grown, shrunk = InMemoryTopicLog(P + 1), InMemoryTopicLog(P - 1)
    sent = send_group(topic_export(), InMemoryTopicLog(P), group=0, rows=whole(HIGH))
    for log in (grown, shrunk):
        steps: list[Callable[[], object]] = [
            partial(start, topic_export(), log),
            partial(send_group, topic_export(), log, group=0, rows=whole(HIGH)),
            partial(end, topic_export(), log, [sent]),
        ]
        assert [code_of(UserError, step) for step in steps] == ["TOPIC_PARTITIONS_CHANGED"] * 3
        assert values(log) == []
        abort(topic_export(), log, reason="TOPIC_PARTITIONS_CHANGED")
        assert [log.kinds(number) for number in range(P - 1)] == [["ExportAborted"]] * (P - 1)
    assert [len(messages) for messages in grown.messages] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("refusal", REFUSED_BY_TOPIC)
def test_refusal_by_the_topic_is_a_user_error(refusal: str) -> None:
    fault = FatalError("KAFKA_REFUSED", "no", kafka_error=refusal)
    log = InMemoryTopicLog(P, fail_at=6, fail=fault)
    start(topic_export(), log)
    with pytest.raises(UserError, match=f"topic {log.topic}: ") as caught:
        send_group(topic_export(), log, group=0, rows=whole(LOW))
    assert (caught.value.code, caught.value.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", refusal)
    assert log.abandoned


@pytest.mark.parametrize(
    "fault",
    [
        FatalError("KAFKA_REFUSED", "who are you", kafka_error="SASL_AUTHENTICATION_FAILED"),
        RetriableError("KAFKA_UNAVAILABLE", "away", kafka_error="_MSG_TIMED_OUT"),
    ],
    ids=lambda fault: fault.kind,
)
def test_other_broker_faults_are_not_user_errors(fault: MusterError) -> None:
    log = InMemoryTopicLog(P, fail_at=6, fail=fault)
    start(topic_export(), log)
    with pytest.raises(type(fault)) as caught:
        send_group(topic_export(), log, group=0, rows=whole(LOW))
    assert caught.value is fault


class MissingTopic(InMemoryTopicLog):
    def partitions(self) -> int:
        raise FatalError("TOPIC_MISSING", "no", topic=self.topic)


def test_missing_topic_is_a_user_error_and_needs_no_abort() -> None:
    log = MissingTopic(P)
    assert code_of(UserError, lambda: partitions_of(log)) == "DESTINATION_NOT_WRITABLE"
    assert code_of(UserError, lambda: start(topic_export(), log)) == "DESTINATION_NOT_WRITABLE"
    abort(topic_export(), log, reason="CANCELLED")
    assert values(log) == []


class ForbiddenTopic(InMemoryTopicLog):
    def partitions(self) -> int:
        raise FatalError("KAFKA_REFUSED", "no", kafka_error="TOPIC_AUTHORIZATION_FAILED")


def test_topic_that_cannot_be_described_is_a_user_error_even_for_an_abort() -> None:
    """Otherwise the ended export would be cleaned up again and again."""
    log = ForbiddenTopic(P)
    assert code_of(UserError, lambda: abort(topic_export(), log, reason="CANCELLED")) == "DESTINATION_NOT_WRITABLE"


class SlowLog(InMemoryTopicLog):
    """Acknowledges nothing to callers that do not wait."""

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        return super().poll(timeout_s) if timeout_s else ()


def test_step_returns_after_all_acknowledgements() -> None:
    log = SlowLog(P)
    export = topic_export()
    start(export, log)
    assert [len(messages) for messages in log.messages] == [1] * P
    sent = send_group(export, log, group=0, rows=whole(LOW))
    assert [len(messages) for messages in log.messages] == [1 + part.chunks for part in sent.partitions]
    end(export, log, [sent])
    abort(topic_export(attempt=2), log, reason="CANCELLED")
    assert [log.kinds(number)[-2:] for number in range(P)] == [["ExportEnded", "ExportAborted"]] * P


def test_rows_are_read_while_they_are_sent() -> None:
    """Only one batch of a group is in memory: the next is read once the last was sent."""
    log = InMemoryTopicLog(1, room=1)
    sent_when_asked: list[int] = []

    def reading() -> Iterator[pa.RecordBatch]:
        for batch in batches(LOW, CHUNK_MAX_ROWS):
            sent_when_asked.append(len(log.messages[0]) + log.unacknowledged())
            yield batch

    reported: list[int] = []
    send_group(topic_export(1), log, group=0, rows=[(None, reading())], on_rows=reported.append)
    assert sent_when_asked == [0, 1, 2, 3, 4]
    assert reported == [5_000, 10_000, 15_000, 20_000, 22_000]
    assert log.unacknowledged() == 0
