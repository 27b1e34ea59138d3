"""The schedules of `make test` and of the mutants: the one place that lists them, and why each is there.

A seed gives the same history only while the product asks its servers the same questions in the same order; a change of
the product changes the histories. A pinned seed may then lose its purpose. The test reports when a fault or a situation
has become rare, and `make prove EXHIBIT=mutants` when a mutant survives. To find another seed, run
`python -m tests.simulation --from 200 --count 300 --having "append conflict"`.
"""

from collections.abc import Mapping
from typing import Final

FIRST: Final = range(180)
"""Further ones are those of the slice (`tests.rotation`): hundreds with every change, none of them twice."""

PINNED: Final[Mapping[int, tuple[str, ...]]] = {
    0: ("xor digest", "wrong duplicates"),
    5: ("ack before part", "own commit unknown"),
    6: ("attempt ignored", "ends early"),
    7: ("no guard", "intent not stored"),
    28: ("ack before durable",),
    45: ("rollback while a publisher slept",),
    55: ("unconditional commit", "append conflict"),
    63: ("markers before acks",),
    66: ("exception swallowed",),
    101: ("rollback unmarked", "rollback while a publisher slept"),
    117: ("append conflict",),
    126: ("append conflict", "rollback while a publisher slept"),
    153: ("append conflict",),
    158: ("append conflict",),
    237: ("unpinned object",),
    705: ("rollback while a publisher slept",),
    1241: ("rollback while a publisher slept",),
    1300: ("rollback while a publisher slept",),
}
"""Required whatever `FIRST` is: the mutants that each seed kills, and the rare situations that it contains."""

REGRESSIONS: Final[Mapping[int, str]] = {
    69_448_181: "an answer to a token that had timed out was refused, and ended the job as a fault of the system",
    188_319_397: "of the oracle: it dated a rollback by its first try, and not by the one that worked",
}
"""Seeds of other ranges that once failed, each with the bug that it found.

`python -m tests.simulation SEED` shows what a schedule is about. Prefer a unit test where one can show the same.
"""

SEEDS: Final = tuple(sorted({*FIRST, *PINNED, *REGRESSIONS}))
"""What `make test` runs, and the schedules that mutants are judged by."""
