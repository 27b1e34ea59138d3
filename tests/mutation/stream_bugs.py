"""Bugs between topic and part, each a plausible mistake, as a function that puts it into the product."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from schemas.digest import Digest
from schemas.errors import MusterError
from schemas.ids import Attempt, Seq
from schemas.messages import PartitionMaterialised
from segmentation.progress import GroupKey, Keep
from tests.mutation.patches import Patches

# --- reconciliation --------------------------------------------------------------------------------------------------


def count_only(patches: Patches) -> None:
    """A partition reconciles as soon as the number of its records is right."""

    def make(original: Any) -> Any:
        def failure(state: Any, marker: Any) -> Any:
            records = sum(digest.count for digest in state.seen.values())
            return None if records == marker.records else original(state, marker)

        return failure

    patches.replace("segmentation.progress:failure", make)


def seq_count(patches: Patches) -> None:
    """The set of seqs is replaced by its size: a chunk that came twice makes up for one that is missing."""

    def failure_of(original: Any) -> Any:
        def failure(state: Any, marker: Any) -> Any:
            return None if len(state.seen) == marker.chunks else original(state, marker)

        return failure

    def add_of(original: Any) -> Any:
        def add(state: Any, chunk: Any) -> Any:
            if state.outcome == "open" and chunk.seq in state.seen:
                number = Seq(1_000_000 + len(state.seen))
                return replace(state, seen={**state.seen, number: chunk.digest}), Keep()
            return original(state, chunk)

        return add

    patches.replace("segmentation.progress:failure", failure_of)
    patches.replace("segmentation.progress:_add", add_of)


def xor_digest(patches: Patches) -> None:
    """Digests are combined with xor, which cancels pairs."""

    def make(_: Any) -> Any:
        def add(self: Digest, other: Digest) -> Digest:
            return Digest(
                schema_id=self.schema_id,
                count=self.count + other.count,
                sum0=self.sum0 ^ other.sum0,
                sum1=self.sum1 ^ other.sum1,
            )

        return add

    patches.replace("schemas.digest:Digest.__add__", make)


def attempt_ignored(patches: Patches) -> None:
    """Messages of all attempts of an import go into one group."""

    def of(cls: Any, message: Any) -> GroupKey:
        return GroupKey(import_id=message.import_id, attempt=Attempt(1), partition=message.partition)

    patches.replace("segmentation.progress:GroupKey.of", lambda _: classmethod(of))


def evidence_ignored(patches: Patches) -> None:
    """What the stream reports is trusted, and not compared with what verification counted."""

    def make(original: Any) -> Any:
        return lambda verified, message: (
            None if isinstance(message, PartitionMaterialised) else original(verified, message)
        )

    patches.replace("segmentation.completion:_fault", make)


def attempts_mixed(patches: Patches) -> None:
    """Partitions of different attempts are combined into one version."""

    def make(original: Any) -> Any:
        def completion(attempt: Any, verified: Any, announced: Any) -> Any:
            return original(attempt, verified, [replace(message, attempt=attempt) for message in announced])

        return completion

    patches.replace("segmentation.completion:completion", make)


def duplicates_twice(patches: Patches) -> None:
    """A chunk that two owners have staged is merged twice."""

    def make(original: Any) -> Any:
        def take(runs: Any) -> Any:
            takes = original([])
            for run in runs:
                takes += original([run])
            return takes

        return take

    patches.replace("segmentation.merging:select_each_chunk_once", make)


def first_row_wins(patches: Patches) -> None:
    """Of the rows of a user, the first is kept, not the last."""

    def make(original: Any) -> Any:
        def last(tables: Any) -> Any:
            reversed_tables = [table.take(list(reversed(range(table.num_rows)))) for table in tables]
            return (table.take(list(reversed(range(table.num_rows)))) for table in original(reversed_tables))

        return last

    patches.replace("streams.merge:_last_of_each_user", make)


# --- delivery --------------------------------------------------------------------------------------------------------


def ack_before_durable(patches: Patches) -> None:
    """A chunk is acknowledged as soon as it is in memory."""

    def make(original: Any) -> Any:
        def keep(self: Any, group: Any, chunk: Any) -> None:
            group.lane.done([chunk.offset])
            original(self, group, chunk)

        return keep

    patches.replace("streams.keeping:Keeper.keep", make)


def ack_before_part(patches: Patches) -> None:
    """The records of a group that is merged without staging are acknowledged as soon as the merge begins."""

    def make(original: Any) -> Any:
        async def merged_or_overdue(self: Any, group: Any, pending: Any) -> None:
            group.lane.done([chunk.offset for chunk in pending.kept.chunks()])
            await original(self, group, pending)

        return merged_or_overdue

    patches.replace("streams.materialiser:Materialiser._merged_or_overdue", make)


def exception_swallowed(patches: Patches) -> None:
    """A run that could not be written is dropped silently."""

    def make(original: Any) -> Any:
        def write_run(*args: Any) -> None:
            with suppress(MusterError):
                original(*args)

        return write_run

    patches.replace("streams.staged:StagedState.write_run", make)


def intent_despite_failed_run(patches: Patches) -> None:
    """The end marker goes on although a run before it could not be staged (found by the simulator, and fixed)."""
    patches.replace("streams.lanes:Lane.close", lambda original: _unless_called_by(original, "_stage"))


def intent_not_stored(patches: Patches) -> None:
    """The end marker is acknowledged while its merge is only in memory: the merge is never announced."""

    def make(_: Any) -> Any:
        def write_intent(self: Any, topic: str, marker: Any) -> Any:
            from schemas.layout import intent_key  # noqa: PLC0415
            from streams.merges import Intent  # noqa: PLC0415

            key = intent_key(topic, marker.partition, marker.import_id, marker.attempt)
            return Intent(key=key, marker=marker)

        return write_intent

    patches.replace("streams.staged:StagedState.write_intent", make)


def stale_owner_acknowledges(patches: Patches) -> None:
    """A worker that has lost its partitions keeps acknowledging them."""
    patches.replace("streams.lanes:Lane.close", lambda _: lambda _self: None)


def late_chunks_reopen(patches: Patches) -> None:
    """An aborted attempt is reopened by the next chunk of a zombie."""

    def make(original: Any) -> Any:
        def add(state: Any, chunk: Any) -> Any:
            return original(replace(state, outcome="open") if state.outcome == "aborted" else state, chunk)

        return add

    patches.replace("segmentation.progress:_add", make)


def _unless_called_by(original: Any, name: str) -> Any:
    import sys  # noqa: PLC0415

    def unless(*args: Any) -> Any:
        frame = sys._getframe(1)
        return None if frame.f_code.co_name == name else original(*args)

    return unless
