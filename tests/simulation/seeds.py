"""The schedules of `make test` and of the mutants: the one place that lists them, and why each is there.

A seed gives the same history only while the product asks its servers the same questions in the same order; a change of
the product changes the histories. A pinned seed may then lose its purpose. The test reports when a fault or a situation
has become rare, and `make prove EXHIBIT=mutants` when a mutant survives. To find another seed, run
`python -m tests.simulation imports --from 200 --count 300 --having "append conflict"`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """The schedules of one scenario.

    `first`: further ones are those of the slice (`tests.rotation`), hundreds with every change, none of them twice.
    `pinned` are required whatever `first` is: the mutants that each seed kills, and the rare situations that it
    contains. `regressions` are seeds of other ranges that once failed, each with the bug that it found; prefer a unit
    test where one can show the same.
    """

    first: range
    pinned: Mapping[int, tuple[str, ...]]
    regressions: Mapping[int, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[int, ...]:
        """What `make test` runs, and the schedules that mutants are judged by."""
        return tuple(sorted({*self.first, *self.pinned, *self.regressions}))


SEEDS: Final[Mapping[str, Seeds]] = {
    "imports": Seeds(
        first=range(180),
        pinned={
            0: ("xor digest", "wrong duplicates"),
            5: ("ack before part", "own commit unknown"),
            6: ("attempt ignored", "ends early"),
            7: ("no guard", "intent not stored"),
            28: ("ack before durable",),
            55: ("unconditional commit", "append conflict"),
            63: ("markers before acks",),
            66: ("exception swallowed",),
            101: ("rollback unmarked", "rollback while a publisher slept"),
            117: ("append conflict",),
            126: ("append conflict",),
            153: ("append conflict",),
            158: ("append conflict",),
            237: ("unpinned object",),
            20_196: ("rollback while a publisher slept",),
            20_215: ("rollback while a publisher slept",),
            20_222: ("rollback while a publisher slept",),
        },
        regressions={
            69_448_181: "an answer to a token that had timed out was refused, and ended the job with an error",
            188_319_397: "of the oracle: it dated a rollback by its first try, and not by the one that worked",
        },
    ),
    "segments": Seeds(
        first=range(50),
        pinned={
            0: ("acknowledged before archived", "any range archived"),
            1: ("checkpoint knows too much",),
            2: ("difference forgotten", "late events dropped", "tail ignored"),
            4: ("future events count", "moments lost with the owner"),
            5: ("deadlines forgotten", "new version unnoticed"),
            6: ("copies count",),
            8: ("deleted without leaving", "not noticed late", "window closed", "window of sums closed"),
            14: ("every value the same",),
            25: (
                "archived since checkpoint ignored",
                "clock goes back",
                "pause read as evaluated",
                "replaced owner counts",
                "snapshot out of step",
                "target ignored",
            ),
            44: ("bound of sums ignored", "bound of sums off by one"),
            54: ("replaced owner continues",),
            165: ("activation refused",),
            192: ("archive range refused", "horizon without not", "tie of one side"),
            303: ("start overlooked",),
        },
        regressions={
            283: "a frozen owner that found the checkpoint of its successor took it for that of another log",
            14_052: "after a late report of the archive's end, a new rule overlooked archived rows",
        },
    ),
    "units": Seeds(
        first=range(24),
        pinned={
            0: ("base seq off by one", "earlier round counted", "evidence counted twice", "ranges unchained"),
            1: ("fault of a guess",),
        },
    ),
}
"""By the name of the scenario."""
