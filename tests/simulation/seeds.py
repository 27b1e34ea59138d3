"""The schedules of `make test`, and of the mutants: the one place that says which, and why.

A seed is a history only as long as the product asks its servers the same questions in the same order: a change of the
product makes other histories of the same seeds. What a pinned one is there for may then be gone. The test says so when
a fault or a situation has become rare, and `make prove PROVE=mutants` when a mutant lives; another seed is found with
`python -m tests.simulation --from 200 --count 300 --having "append conflict"`.
"""

from collections.abc import Mapping
from typing import Final

FIRST: Final = range(180)

PINNED: Final[Mapping[int, tuple[str, ...]]] = {
    0: ("xor digest", "intent not stored", "own commit unknown", "ends early", "wrong duplicates"),
    5: ("attempt ignored", "rollback unmarked"),
    6: ("no guard",),
    12: ("unconditional commit", "append conflict"),
    31: ("exception swallowed",),
    42: ("ack before durable",),
    63: ("markers before acks",),
    88: ("unpinned object",),
    101: ("rollback while a publisher slept",),
    153: ("rollback while a publisher slept", "append conflict"),
    158: ("rollback while a publisher slept",),
    389: ("rollback while a publisher slept",),
    410: ("rollback while a publisher slept",),
}
"""Not to be missed, whatever `FIRST` is: the mutants that each kills, and the rare situations that it has."""

REGRESSIONS: Final[Mapping[int, str]] = {
    69_448_181: "an answer to a token that had timed out was refused, and ended the job as a fault of the system",
    188_319_397: "of the oracle: it dated a rollback by its first try, and not by the one that worked",
}
"""Seeds of other ranges that have failed once, each with the fault that it had found.

`python -m tests.simulation SEED` says what a schedule is about; where a unit test can show the same, it belongs there.
"""

SEEDS: Final = tuple(sorted({*FIRST, *PINNED, *REGRESSIONS}))
"""What `make test` runs, and by what mutants are judged."""
