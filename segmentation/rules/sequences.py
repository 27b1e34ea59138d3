"""Sequences: events of a user one after another within limits of time, or one that is not followed by another.

S1 are the moments of the first step. `then X within G..D` keeps the moments x of X with s + G < x <= s + D for some s
of the step before. `then not X within G..D` keeps each s + D for which there is no such x; what follows counts from
there. The condition is true at T if some moment of the last step is in (T - window, T].

A moment is a whole microsecond: copies, and several events of a kind at once, are one. Without a gap, an event of
another name at the very moment of an event step before counts as following it; one of the same name must be later.
"""

from dataclasses import dataclass
from typing import Final

from schemas.errors import UserError
from segmentation.rules.events import MAX_WINDOW_S, Events, check_name
from segmentation.rules.windows import window_text

MAX_LATEST: Final = 1_000
"""The moments of a step that count, the latest ones, where a step is bounded."""
MAX_STEPS: Final = 3
MAX_RUNS: Final = 10_000
"""How often the span of an unbounded step fits into all the time that a sequence looks back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Events of one step; all but the first come `gap_s` to `within_s` seconds after the step before, or do not."""

    events: Events
    negated: bool = False
    gap_s: int = 0
    within_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """`sequence(add_to_cart then not purchase within 1d same product_id, 7d)`.

    `same`: a property that is equal, in value and type, in the events of all steps; events without it take no part.
    `latest`: of a step that is bounded, a moment counts if at most so many of the step's moments are at or after it, up
    to T; with `same`, pairs of moment and value are counted.
    """

    steps: tuple[Step, ...]
    window_s: int
    same: str | None = None
    latest: int = MAX_LATEST

    def __post_init__(self) -> None:
        first, *later = self.steps or (None,)
        if first is None or not 1 <= len(later) < MAX_STEPS:
            raise _bad(f"a sequence has two or three steps, not {len(self.steps)}")
        if first.negated:
            raise _bad("not cannot be the first step")
        if first.gap_s or first.within_s:
            raise _bad("the first step follows nothing: within belongs to the steps after it")
        if sum(step.negated for step in later) > 1:
            raise _bad("a sequence has one step with not, at most")
        for step in later:
            if not 0 <= step.gap_s < step.within_s:
                raise _bad("a step comes within a time, as in: then purchase within 1d; or within 1h..1d")
        if self.window_s < 1 or self.window_s + self._all_s > MAX_WINDOW_S:
            raise _bad("the window of a sequence and the times of its steps are up to 366d together")
        if self.same is not None:
            check_name("property", self.same)
        if not 1 <= self.latest <= MAX_LATEST:
            raise _bad(f"the latest 1 to {MAX_LATEST:,} moments of a step count")
        for number in range(len(self.steps)):
            self._check_runs(number)

    @property
    def _all_s(self) -> int:
        return sum(step.within_s for step in self.steps)

    def is_bounded(self, number: int) -> bool:
        """Whether only the `latest` moments of a step count.

        Others need no more than when the events of a step began and ended, as whether there is one in a range of time
        is all that is asked of them.
        """
        if self.same is not None:
            return True
        return not self.steps[number].negated and (number > 0 or self.steps[1].negated)

    def span_s(self, number: int) -> int:
        """Of a step that is not bounded: moments no further apart than this are as good as all between them."""
        step = self._asking(number)
        return step.within_s - step.gap_s

    def _asking(self, number: int) -> Step:
        """The step with the times between which there is an event of an unbounded step, or is none."""
        return self.steps[number] if self.steps[number].negated else self.steps[number + 1]

    def horizon_s(self, number: int) -> int:
        """A moment of a step is of no use once it is so long ago."""
        later = sum(step.within_s for step in self.steps[number + 1 :])
        own = self.steps[number].within_s if self.steps[number].negated else 0
        return self.window_s + later + own

    def delay_s(self, number: int) -> int:
        """From the moment of the step before to that at which a step with `not` is reached; 0 for others."""
        step = self.steps[number]
        return step.within_s if step.negated else 0

    def takes_ties(self, number: int) -> bool:
        """Whether an event of a step (not the first) at the very moment of the step before follows it."""
        step, before = self.steps[number], self.steps[number - 1]
        return step.gap_s == 0 and not before.negated and step.events.event != before.events.event

    def _check_runs(self, number: int) -> None:
        if self.is_bounded(number):
            return
        step, span, horizon = self._asking(number), self.span_s(number), self.horizon_s(number)
        if horizon <= MAX_RUNS * span:
            return
        least = step.gap_s + -(-(horizon - span) // (MAX_RUNS - 1))
        longest = self.window_s - horizon + MAX_RUNS * span
        shorter = f", or a window up to {window_text(longest)}" if longest > 0 else ""
        gap = f"{window_text(step.gap_s)}.." if step.gap_s else ""
        raise _bad(
            f"within {gap}{window_text(step.within_s)} is too fine for {window_text(self.window_s)}: "
            f"write within {gap}{window_text(least)} or more{shorter}"
        )


def _bad(what: str) -> UserError:
    return UserError("BAD_RULE", what)
