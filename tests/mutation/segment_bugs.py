"""Bugs in keeping segments and in the log of their changes: each is a function that puts the bug into the product."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from segmentation.evaluation.amounts import WIDTH
from segmentation.evaluation.columns import LONG_AGO, NEVER
from segmentation.evaluation.spans import next_change
from segmentation.rules.aggregates import COMPARED, MAX_NUMBER, STEPS
from segmentation.rules.sequences import MAX_LATEST
from tests.mutation.patches import Patches

# --- owners ----------------------------------------------------------------------------------------------------------


def replaced_owner_counts(patches: Patches) -> None:
    """A new owner also counts changes that the previous one emitted after it was replaced."""

    def make(_: Any) -> Any:
        def counts(self: Any, offset: int, message: Any) -> bool:
            if not hasattr(message, "rows"):
                self.generation = offset
                return False
            return True

        return counts

    patches.replace("segmentation.partitions.change_log:ChangeLog.counts", make)


def replaced_owner_continues(patches: Patches) -> None:
    """An owner writes checkpoints and snapshots without checking whether another one has taken over."""

    def make(_: Any) -> Any:
        async def check_not_replaced(_self: Any) -> None:
            pass

        return check_not_replaced

    patches.replace("streams.segments.partition_task:PartitionTask._check_not_replaced", make)


def start_overlooked(patches: Patches) -> None:
    """An owner does not see that another one starts while it recovers (found by the simulator, and fixed)."""

    def make(original: Any) -> Any:
        def check_not_replaced(*args: Any) -> None:
            if sys._getframe(1).f_code.co_name != "_read_back":
                original(*args)

        return check_not_replaced

    patches.replace("streams.segments.change_records:check_not_replaced", make)


def difference_forgotten(patches: Patches) -> None:
    """A new owner does not emit what has changed since the last change of the previous one."""

    def make(original: Any) -> Any:
        def difference(self: Any, segments: Any) -> Any:
            original(self, segments)
            return []

        return difference

    patches.replace("segmentation.partitions.recovery:Recovery.difference", make)


def target_ignored(patches: Patches) -> None:
    """A new owner emits the difference before it has reached the position of the last emitted change."""
    patches.replace("segmentation.partitions.log_position:LogPosition.reached", lambda _: lambda _self, _other: True)


def pause_read_as_evaluated(patches: Patches) -> None:
    """A new owner gives a paused segment the members that its rule had when the owner read of the pause."""

    def make(_: Any) -> Any:
        return lambda _self, _tenant, _segment, _user_ids: []

    patches.replace("segmentation.partitions.partition:PartitionSegments.adopt", make)


def clock_goes_back(patches: Patches) -> None:
    """The instant of an answer follows the clock of the worker, also backwards."""

    def make(_: Any) -> Any:
        def move(self: Any, at_us: int, **offsets: int) -> None:
            self.position = replace(self.position, at_us=at_us, **offsets)

        return move

    patches.replace("segmentation.partitions.partition:PartitionSegments._move", make)


# --- what an owner starts from ---------------------------------------------------------------------------------------


def acknowledged_before_archived(patches: Patches) -> None:
    """Records are acknowledged as soon as they are folded: those that no file has yet are lost with their owner."""

    def make(original: Any) -> Any:
        def processed(self: Any, drained: Any, rows: Any) -> None:
            original(self, drained, rows)
            self.lane.done_to(self.position - self.base)

        return processed

    patches.replace("streams.segments.inputs:Input.processed", make)


def checkpoint_knows_too_much(patches: Patches) -> None:
    """A checkpoint claims to know one change more than it does, and the next owner does not read that one back."""

    def make(original: Any) -> Any:
        return lambda store, bucket, checkpoint: original(
            store, bucket, replace(checkpoint, changes=checkpoint.changes + 1)
        )

    patches.replace("streams.segments.checkpoints:save", make)


def archived_since_checkpoint_ignored(patches: Patches) -> None:
    """Records that were acknowledged after the checkpoint are not read from the archive."""

    def make(_: Any) -> Any:
        def catch_up(_self: Any, segments: Any, _recovery: Any, starts: Any) -> None:
            events, profiles = starts.values()
            segments.skip_to(events=events, profiles=profiles)

        return catch_up

    patches.replace("streams.segments.partition_recovery:PartitionRecovery._catch_up", make)


def tail_ignored(patches: Patches) -> None:
    """A new rule is evaluated over the archive, without the rows that are not there yet."""

    def make(original: Any) -> Any:
        return lambda self: replace(original(self), event_rows=(), profile_rows=())

    patches.replace("streams.segments.partition_task:PartitionTask._history", make)


def any_range_archived(patches: Patches) -> None:
    """The committer appends every range that is announced, also one that the archive has."""

    def make(_: Any) -> Any:
        from segmentation.archiving import Verdict  # noqa: PLC0415

        return lambda *_: Verdict.APPEND

    patches.replace("segmentation.archiving:verdict", make)


def snapshot_out_of_step(patches: Patches) -> None:
    """A snapshot contains a change that a receiver is told to apply to it."""

    def make(original: Any) -> Any:
        return lambda self, snapshot, environment, emitted_to, generation: original(
            self, snapshot, environment, emitted_to - 1, generation
        )

    patches.replace("streams.segments.reporting:Reporter.cut", make)


# --- the answer ------------------------------------------------------------------------------------------------------


def deadlines_forgotten(patches: Patches) -> None:
    """A user leaves or enters only with an event: windows that end by themselves go unnoticed."""

    def make(_: Any) -> Any:
        def steps(self: Any, at_us: int, *_: Any) -> Any:
            yield from ()
            self.state.at_us = max(self.state.at_us, at_us)

        return steps

    patches.replace("segmentation.evaluation.evaluator:Evaluator.steps", make)


def future_events_count(patches: Patches) -> None:
    """An event counts when it arrives, also if it lies in the future."""

    def make(_: Any) -> Any:
        return lambda self, events: self._apply_events(events)

    patches.replace("segmentation.evaluation.evaluator:Evaluator.insert", make)


def copies_count(patches: Patches) -> None:
    """An event that is sent again counts again."""

    def make(original: Any) -> Any:
        numbers = iter(range(1, 1 << 60))

        def occurrences(self: Any, *args: Any) -> Any:
            found = original(self, *args)
            return found._replace(identities=np.array([next(numbers) for _ in found.users], np.int64))

        return occurrences

    patches.replace("segmentation.evaluation.kinds:Kinds.occurrences", make)


def late_events_dropped(patches: Patches) -> None:
    """An event older than half a minute is taken for too late."""

    def make(original: Any) -> Any:
        def insert(self: Any, events: Any) -> Any:
            return original(self, events.take(events.occurred_at > self.state.at_us - 30_000_000))

        return insert

    patches.replace("segmentation.evaluation.evaluator:Evaluator.insert", make)


def new_version_unnoticed(patches: Patches) -> None:
    """The next version of an audience does not reach the rules that name it."""

    def make(_: Any) -> Any:
        def activate_audience(self: Any, message: Any, _history: Any, _at_us: int) -> Any:
            self.audiences[message.audience] = message.version
            return []

        return activate_audience

    patches.replace("segmentation.partitions.tenant:TenantSegments._activate_audience", make)


def deleted_without_leaving(patches: Patches) -> None:
    """Nobody leaves a segment that is deleted."""

    def make(original: Any) -> Any:
        def all_leave(self: Any, segment: str) -> Any:
            changes = original(self, segment)
            return replace(
                changes,
                user_ids=changes.user_ids[:0],
                entered=changes.entered[:0],
                effective_at=changes.effective_at[:0],
            )

        return all_leave

    patches.replace("segmentation.evaluation.succession:Succession._all_leave", make)


# --- times that follow the clock -------------------------------------------------------------------------------------


def span_closed(patches: Patches) -> None:
    """A test that follows the clock is still true at the instant at which it ends."""

    def make(original: Any) -> Any:
        def true(self: Any, users: Any, at: Any) -> Any:
            return original(self, users, at - 1)

        return true

    patches.replace("segmentation.evaluation.spans:Spans.true", make)


def anniversary_once(patches: Patches) -> None:
    """An anniversary comes once, and not again a year later."""

    def make(_: Any) -> Any:
        def due(self: Any, users: Any, at: Any) -> Any:
            return next_change(self._enter[users], self._leave[users], at)

        return due

    patches.replace("segmentation.evaluation.spans:Spans.due", make)


def days_of_utc(patches: Patches) -> None:
    """Days begin at midnight UTC, whatever the zone of the rule."""

    def make(original: Any) -> Any:
        return lambda day, _timezone: original(day, "UTC")

    patches.replace("segmentation.evaluation.spans:_first_moment", make)


# --- sequences -------------------------------------------------------------------------------------------------------


def run_too_long(patches: Patches) -> None:
    """A run also joins moments that are a second further apart than its span."""

    def make(original: Any) -> Any:
        return lambda self, number: original(self, number) + 1

    patches.replace("segmentation.rules.sequences:Sequence.span_s", make)


def horizon_without_not(patches: Patches) -> None:
    """Moments of a step with `not` are dropped although they still cancel one of the step before."""

    def make(original: Any) -> Any:
        def horizon_s(self: Any, number: int) -> Any:
            step = self.steps[number]
            return original(self, number) - (step.within_s if step.negated else 0)

        return horizon_s

    patches.replace("segmentation.rules.sequences:Sequence.horizon_s", make)


def tie_of_one_side(patches: Patches) -> None:
    """An event at the very moment of the step before follows it, but does not cancel it."""

    def make(original: Any) -> Any:
        return lambda self, number: original(self, number) and not self.steps[number].negated

    patches.replace("segmentation.rules.sequences:Sequence.takes_ties", make)


def floor_forgotten(patches: Patches) -> None:
    """A late moment counts although later ones had pushed out moments as old."""

    def make(original: Any) -> Any:
        def add(self: Any, *given: Any) -> None:
            self._lists.floors[:] = LONG_AGO
            original(self, *given)

        return add

    patches.replace("segmentation.evaluation.followed:Followed.add", make)


def window_closed(patches: Patches) -> None:
    """A sequence is still true at the instant at which its end leaves the window."""

    def make(original: Any) -> Any:
        def answers(self: Any, users: Any, at: Any) -> Any:
            _, due = original(self, users, at)
            self._window += 1
            true, _ = original(self, users, at)
            self._window -= 1
            return true, due

        return answers

    patches.replace("segmentation.evaluation.followed:Followed.answers", make)


def every_value_the_same(patches: Patches) -> None:
    """Events with different values of the property that has to be the same follow each other."""

    def make(original: Any) -> Any:
        def keys_of(batch: Any, name: str) -> Any:
            there, keys = original(batch, name)
            return there, np.zeros_like(keys)

        return keys_of

    patches.replace("segmentation.evaluation.answers:keys_of", make)


def not_noticed_late(patches: Patches) -> None:
    """A step with `not` is taken for reached only when its time has passed twice."""

    def make(original: Any) -> Any:
        def answers(self: Any, users: Any, at: Any) -> Any:
            true, due = original(self, users, at)
            late = int(self._asked.within[self._asked.negated].sum())
            return true, np.where(true | (due == NEVER), due, due + late)

        return answers

    patches.replace("segmentation.evaluation.followed:Followed.answers", make)


def moments_lost_with_the_owner(patches: Patches) -> None:
    """The next owner does not find the moments of sequences in the checkpoint."""

    def make(original: Any) -> Any:
        def take_over(self: Any, columns: Any) -> None:
            original(self, columns)
            self._lists.counts[:] = 0

        return take_over

    patches.replace("segmentation.evaluation.followed:Followed.take_over", make)


# --- aggregates ------------------------------------------------------------------------------------------------------


def numbers_summed_as_doubles(patches: Patches) -> None:
    """Numbers are summed as doubles, in the order of their times, and not in whole steps."""

    def in_steps(_: Any) -> Any:
        return lambda numbers: (np.abs(numbers) <= MAX_NUMBER, numbers.astype(np.float64).view(np.int64))

    def totals(original: Any) -> Any:
        def of(self: Any, users: Any, since: Any, latest: int) -> Any:
            _, number, oldest = original(self, users, since, latest)
            lists, found = self._lists, np.zeros(len(users), np.float64)
            for k, user in enumerate(users):
                end = lists.starts[user] + WIDTH * lists.counts[user]
                for entry in range(end - WIDTH * number[k], end, WIDTH):
                    found[k] += lists.words[entry + 2 : entry + 3].view(np.float64)[0]
            return found, number, oldest

        return of

    def met(_: Any) -> Any:
        def compare(self: Any, total: Any, number: Any) -> Any:
            if self.function == "sum":
                return COMPARED[self.operator](total, self.value)
            return (number > 0) & COMPARED[self.operator](total / np.maximum(number, 1), self.value)

        return compare

    patches.replace("segmentation.evaluation.amounts:in_steps", in_steps)
    patches.replace("segmentation.evaluation.amounts:Amounts.totals", totals)
    patches.replace("segmentation.rules.aggregates:Total.met", met)


def bound_of_sums_off_by_one(patches: Patches) -> None:
    """One number more than the latest ones counts."""

    def init(original: Any) -> Any:
        return lambda self, keep, horizon: original(self, keep + 1, horizon)

    def totals(original: Any) -> Any:
        return lambda self, users, since, latest: original(self, users, since, latest + 1)

    patches.replace("segmentation.evaluation.amounts:Amounts.__init__", init)
    patches.replace("segmentation.evaluation.amounts:Amounts.totals", totals)


def bound_of_sums_ignored(patches: Patches) -> None:
    """All numbers in the window count, and not only the latest ones."""

    def init(original: Any) -> Any:
        return lambda self, _keep, horizon: original(self, MAX_LATEST, horizon)

    def totals(original: Any) -> Any:
        return lambda self, users, since, _latest: original(self, users, since, MAX_LATEST)

    patches.replace("segmentation.evaluation.amounts:Amounts.__init__", init)
    patches.replace("segmentation.evaluation.amounts:Amounts.totals", totals)


def window_of_sums_closed(patches: Patches) -> None:
    """A number still counts at the instant at which its event leaves the window."""

    def totals(original: Any) -> Any:
        def longer(self: Any, users: Any, since: Any, latest: int) -> Any:
            total, number, oldest = original(self, users, since - 1, latest)
            return total, number, np.where(oldest == NEVER, NEVER, oldest + 1)  # it leaves a microsecond later

        return longer

    def add(original: Any) -> Any:
        return lambda self, users, times, identities, amounts, at_us: original(
            self, users, times, identities, amounts, at_us - 1
        )

    patches.replace("segmentation.evaluation.amounts:Amounts.totals", totals)
    patches.replace("segmentation.evaluation.amounts:Amounts.add", add)


def ties_rounded_to_even(patches: Patches) -> None:
    """A number halfway between two steps is rounded to the even one."""

    def in_steps(original: Any) -> Any:
        def rounded(numbers: Any) -> Any:
            fits, _ = original(numbers)
            return fits, np.rint(np.where(fits, numbers, 0.0) * STEPS).astype(np.int64)

        return rounded

    patches.replace("segmentation.evaluation.amounts:in_steps", in_steps)


def values_counted_as_events(patches: Patches) -> None:
    """A value that comes again at another time is another value."""

    def insert(_: Any) -> Any:
        from segmentation.evaluation.latest import LatestEvents  # noqa: PLC0415

        return LatestEvents._insert

    patches.replace("segmentation.evaluation.latest:LatestValues._insert", insert)


def numbers_of_a_shorter_window_kept(patches: Patches) -> None:
    """A rule with a longer window takes over the numbers that were kept for a shorter one."""

    def add(original: Any) -> Any:
        def without_since(self: Any, *args: Any) -> None:
            original(self, *args)
            self.since_us = LONG_AGO

        return without_since

    patches.replace("segmentation.evaluation.amounts:Amounts.add", add)
