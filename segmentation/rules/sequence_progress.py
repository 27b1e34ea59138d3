"""How far a user has come in a sequence, and when the answer changes next."""

from collections.abc import Iterable
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import NamedTuple

from segmentation.expressions.literals import SECOND_US
from segmentation.rules.sequences import Sequence


class Reached(NamedTuple):
    """A moment (microseconds) with the steps that it belongs to, as `sql.steps_sql` says; `value` is that of `same`."""

    us: int
    steps: Several[bool]
    value: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """`reached_us`: when a step was last reached, for this `value`; None if it was not.

    `waits_until_us`: of a step with `not`, when it will be reached unless an event comes before; of others, up to when
    an event can still reach it, after the last time that the step before was reached. None if nothing is waited for.
    """

    reached_us: int | None
    value: object
    waits_until_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`changes_us`: when the answer changes if no further event comes; None if it does not."""

    steps: tuple[StepProgress, ...]
    changes_us: int | None


def progress(sequence: Sequence, found: Iterable[Reached], at_us: int) -> Progress:
    """The progress at an instant, from all moments of a user up to it."""
    rows = list(found)
    steps: list[StepProgress] = []
    for number, step in enumerate(sequence.steps):
        delay = sequence.delay_s(number) * SECOND_US
        moments = [(row.us + delay, row.value) for row in rows if row.steps[number]]
        past = [one for one in moments if one[0] <= at_us]
        last, value = max(past, key=lambda one: one[0], default=(None, None))
        coming = [us for us, _ in moments if us > at_us]
        before = steps[-1].reached_us if steps else None
        if not step.negated and before is not None:
            coming = [end] if (end := before + step.within_s * SECOND_US) > at_us else []
        steps.append(StepProgress(reached_us=last, value=value, waits_until_us=min(coming, default=None)))
    delay = sequence.delay_s(len(sequence.steps) - 1) * SECOND_US
    ends = sorted({row.us + delay for row in rows if row.steps[-1]})
    return Progress(steps=tuple(steps), changes_us=_next_change(ends, sequence.window_s * SECOND_US, at_us))


def _next_change(reached: Several[int], window: int, at_us: int) -> int | None:
    """`reached`: the moments of the last step, also those to come, ascending."""
    past, coming = [us for us in reached if us <= at_us], [us for us in reached if us > at_us]
    if not past or past[-1] <= at_us - window:
        return min(coming, default=None)
    end = past[-1] + window
    for us in coming:
        if us > end:
            break
        end = us + window
    return end
