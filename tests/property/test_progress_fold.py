"""Random worker histories: duplicates, loss, reorder, restarts, zombies, aborts, competing imports.

The machine has a log of one partition and two workers that own it in turn; the one that lost it continues for a while
with its memory. Everything durable (staged runs, intents, reports) is shared; memory dies with a crash. In every
history, each group whose marker is in the log was in the end reconciled with exactly its chunks, reported as failed
with exactly what the log lacks, or dropped.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, Seq, TenantName
from schemas.messages import ImportAborted, ImportEnded, ImportMessage, UserChunk
from segmentation.acks import AckLedger
from segmentation.progress import Drop, GroupKey, Keep, Merge, Progress, Report, Skip, step
from tests.examples import examples

SCHEMA = RowSchema()
IMPORTS = tuple(JobId(c * 26) for c in "ab")
CHUNKS = 4


def digest_of(key: GroupKey, seq: int) -> Digest:
    value = ord(key.import_id[0]) * 1_000_003 + key.attempt * 1_009 + seq
    return Digest(schema_id=SCHEMA.schema_id, count=seq + 1, sum0=value, sum1=value * value)


def chunk_of(key: GroupKey, seq: int) -> UserChunk:
    return UserChunk(
        import_id=key.import_id,
        attempt=key.attempt,
        partition=key.partition,
        seq=Seq(seq),
        count=seq + 1,
        digest=digest_of(key, seq),
        rows=b"",
    )


def marker_of(key: GroupKey) -> ImportEnded:
    total = Digest.total(SCHEMA.schema_id, (digest_of(key, seq) for seq in range(CHUNKS)))
    return ImportEnded(
        tenant=TenantName("acme"),
        audience=AudienceName("vip"),
        import_id=key.import_id,
        attempt=key.attempt,
        partition=key.partition,
        partitions=1,
        columns=SCHEMA,
        data_prefix="s3://lake/data/",
        chunks=CHUNKS,
        records=total.count,
        digest=total,
    )


@dataclass
class Durable:
    """State that outlives a worker."""

    staged: dict[GroupKey, dict[Seq, Digest]] = field(default_factory=dict)
    intents: dict[GroupKey, frozenset[Seq]] = field(default_factory=dict)
    reports: dict[GroupKey, list[tuple[int, ...]]] = field(default_factory=dict)
    committed: int = 0


class SimulatedWorker:
    """Does what the shell does, in single steps, so that a crash may come between any two."""

    def __init__(self, durable: Durable, *, ack_early: bool, ack_marker_early: bool) -> None:
        self.durable = durable
        self.ack_early = ack_early
        self.ack_marker_early = ack_marker_early
        self.owner = True
        self.ledger = AckLedger.start(durable.committed)
        self.acked = durable.committed
        self.groups: dict[GroupKey, Progress] = {}
        self.buffer: list[tuple[int, GroupKey, UserChunk]] = []
        self.settling: list[tuple[int, GroupKey, Merge | Report | Drop]] = []

    @property
    def position(self) -> int:
        return self.ledger.next_offset

    def take(self, message: ImportMessage) -> None:
        offset, key = self.position, GroupKey.of(message)
        self.ledger = self.ledger.deliver(offset, offset + 1)
        state = self.groups.get(key) or Progress.resume(key, staged=self.durable.staged.get(key, {}).items())
        self.groups[key], effect = step(state, message)
        match effect:
            case Keep():
                assert isinstance(message, UserChunk)
                self.buffer.append((offset, key, message))
                if self.ack_early:
                    self.done([offset])
            case Skip():
                self.done([offset])
            case Merge() | Report() | Drop():
                self.settling.append((offset, key, effect))
                if self.ack_marker_early:
                    self.done([offset])
            case _:
                raise AssertionError(effect)

    def flush(self, count: int) -> None:
        now, self.buffer = self.buffer[:count], self.buffer[count:]
        for _, key, chunk in now:
            self.durable.staged.setdefault(key, {})[chunk.seq] = chunk.digest
        self.done([offset for offset, _, _ in now])

    def settle(self) -> None:
        if not self.settling:
            return
        offset, key, effect = self.settling.pop(0)
        match effect:
            case Merge():
                self.flush(len(self.buffer))
                self.durable.intents[key] = frozenset(self.durable.staged.get(key, {}))
            case Report():
                self.flush(len(self.buffer))
                self.durable.reports.setdefault(key, []).append(tuple(effect.failure.missing))
            case Drop():
                self.done([o for o, k, _ in self.buffer if k == key])
                self.buffer = [entry for entry in self.buffer if entry[1] != key]
                self.durable.staged.pop(key, None)
                self.durable.intents.pop(key, None)
        self.done([offset])

    def done(self, offsets: list[int]) -> None:
        self.ledger, ackable = self.ledger.complete(offsets)
        if ackable:
            assert ackable.start == self.acked, "acknowledged out of order"
            self.acked = ackable.stop

    def commit(self) -> None:
        if self.owner:
            self.durable.committed = max(self.durable.committed, self.acked)


class Histories(RuleBasedStateMachine):
    ack_early = False
    ack_marker_early = False

    @initialize()
    def begin(self) -> None:
        self.log: list[ImportMessage] = []
        self.durable = Durable()
        self.worker = self.new_worker()
        self.zombie: SimulatedWorker | None = None
        self.attempts: dict[JobId, int] = dict.fromkeys(IMPORTS, 0)

    def new_worker(self) -> SimulatedWorker:
        return SimulatedWorker(self.durable, ack_early=self.ack_early, ack_marker_early=self.ack_marker_early)

    @rule(
        import_id=st.sampled_from(IMPORTS),
        order=st.permutations(range(CHUNKS)),
        lost=st.sets(st.integers(0, CHUNKS - 1), max_size=1),
        doubled=st.sets(st.integers(0, CHUNKS - 1)),
        end=st.booleans(),
        late=st.booleans(),
    )
    def publish(
        self, *, import_id: JobId, order: list[int], lost: set[int], doubled: set[int], end: bool, late: bool
    ) -> None:
        """One attempt: chunks in any order, some lost, some duplicated; it may die before its marker."""
        if self.attempts[import_id] == 3:
            return
        self.attempts[import_id] += 1
        key = GroupKey(import_id=import_id, attempt=Attempt(self.attempts[import_id]), partition=Partition(0))
        sent = [seq for seq in order if seq not in lost]
        self.log += [chunk_of(key, seq) for seq in (*sent, *(s for s in sent if s in doubled))]
        if end:
            self.log.append(marker_of(key))
            if late:  # a duplicate of the marker, and of a chunk after it
                self.log += [*(chunk_of(key, seq) for seq in sent[:1]), marker_of(key)]

    @rule(import_id=st.sampled_from(IMPORTS))
    def abort(self, import_id: JobId) -> None:
        if attempt := self.attempts[import_id]:
            self.log.append(
                ImportAborted(import_id=import_id, attempt=Attempt(attempt), partition=Partition(0), reason="cancelled")
            )

    @rule(count=st.integers(1, 8))
    def consume(self, count: int) -> None:
        for _ in range(count):
            if self.worker.position < len(self.log):
                self.worker.take(self.log[self.worker.position])

    @rule(count=st.integers(1, 8))
    def flush(self, count: int) -> None:
        self.worker.flush(count)

    @rule()
    def settle(self) -> None:
        self.worker.settle()

    @rule()
    def commit(self) -> None:
        self.worker.commit()

    @rule()
    def crash(self) -> None:
        self.worker = self.new_worker()

    @rule()
    def lose_the_partition(self) -> None:
        """Another worker takes over; the old one still has work in its threads."""
        self.worker.owner = False
        self.zombie, self.worker = self.worker, self.new_worker()

    @rule(count=st.integers(1, 4))
    def zombie_flushes(self, count: int) -> None:
        if self.zombie is not None:
            self.zombie.buffer = [e for e in self.zombie.buffer if not self.aborted(e[1])]
            self.zombie.flush(count)

    def aborted(self, key: GroupKey) -> bool:
        return any(isinstance(m, ImportAborted) and m.import_id == key.import_id for m in self.log)

    @invariant()
    def committed_records_are_durable(self) -> None:
        if not hasattr(self, "log"):
            return
        seen: set[GroupKey] = set()
        for message in self.log[: self.durable.committed]:
            key = GroupKey.of(message)
            if self.aborted(key):
                continue
            if isinstance(message, UserChunk) and key not in seen:
                assert message.seq in self.durable.staged.get(key, {}), f"{key} seq {message.seq} is lost"
            if isinstance(message, ImportEnded):
                seen.add(key)
                assert key in self.durable.intents or key in self.durable.reports, f"the marker of {key} is lost"

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        while self.worker.position < len(self.log):
            self.worker.take(self.log[self.worker.position])
        self.worker.flush(len(self.worker.buffer))
        while self.worker.settling:
            self.worker.settle()
        self.worker.commit()
        assert self.durable.committed == len(self.log)
        before: dict[GroupKey, set[int]] = {}
        judged: set[GroupKey] = set()
        for message in self.log:
            key = GroupKey.of(message)
            if isinstance(message, UserChunk) and key not in judged:
                before.setdefault(key, set()).add(message.seq)
            if isinstance(message, ImportEnded) and key not in judged:
                judged.add(key)
        for key in judged:
            if self.aborted(key):
                continue
            arrived = before.get(key, set())
            missing = tuple(seq for seq in range(CHUNKS) if seq not in arrived)
            if missing:
                assert set(self.durable.reports[key]) == {missing}
                assert key not in self.durable.intents
            else:
                assert self.durable.intents[key] == frozenset(range(CHUNKS))
                assert key not in self.durable.reports


TestHistories = Histories.TestCase
TestHistories.settings = examples(100, stateful_step_count=40)


class AckBeforeDurable(Histories):
    ack_early = True


class AckMarkerBeforeIntent(Histories):
    ack_marker_early = True


def play(machine: Histories) -> None:
    """An import whose worker commits and dies before it stages a chunk or stores what the marker asks for."""
    machine.begin()
    machine.publish(import_id=IMPORTS[0], order=[*range(CHUNKS)], lost=set(), doubled=set(), end=True, late=False)
    for taken in (1, CHUNKS - 1, 1):
        machine.consume(taken)
        machine.commit()
        machine.committed_records_are_durable()
        machine.flush(taken)
        machine.commit()
        machine.committed_records_are_durable()
    machine.crash()
    machine.committed_records_are_durable()
    machine.teardown()


def test_worker_that_obeys_the_rule_loses_nothing() -> None:
    play(Histories())


@pytest.mark.parametrize(
    ("broken", "lost"), [(AckBeforeDurable, "seq 0 is lost"), (AckMarkerBeforeIntent, "the marker of .* is lost")]
)
def test_worker_that_breaks_the_rule_loses_records(broken: type[Histories], lost: str) -> None:
    with pytest.raises(AssertionError, match=lost):
        play(broken())


@pytest.mark.faults("searches up to 3,000 random histories", seconds=30)
@pytest.mark.parametrize("broken", [AckBeforeDurable, AckMarkerBeforeIntent])
def test_random_histories_detect_a_worker_that_breaks_the_rule(broken: type[Histories]) -> None:
    with pytest.raises(AssertionError, match="is lost"):
        run_state_machine_as_test(broken, settings=examples(6_000, stateful_step_count=40))
