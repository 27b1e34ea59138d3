"""The faults of a schedule, and how often each took place.

Swarm testing (Groce et al., ISSTA 2012): each seed has a random subset of the kinds, at random rates, so that schedules
differ in character and not only in detail. Every chance of a fault is numbered. A fault can be suppressed by its number
or its kind without moving any other fault, so schedules can be shrunk.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

KINDS: Final[dict[str, float]] = {
    # a call of a store fails before it has any effect / has its effect but loses the reply / is slow
    "object store fails": 0.03,
    "object store reply lost": 0.02,
    "object store slow": 0.08,
    "catalog fails": 0.01,
    "catalog reply lost": 0.01,
    "catalog slow": 0.02,
    "log fails": 0.02,
    "log reply lost": 0.02,
    "log slow": 0.03,
    "engine fails": 0.03,
    "engine reply lost": 0.03,
    # the log
    "duplicate send": 0.08,
    "acknowledged message lost": 0.02,
    "reordered send": 0.05,
    "zombie producer's batch lands late": 0.05,
    # processes
    "invocation killed": 0.01,
    "invocation frozen": 0.01,
    "invocation answer lost": 0.04,
    "worker killed": 0.01,
    "worker frozen": 0.01,
    "rebalance": 0.05,
    "relay killed": 0.004,
    "relay frozen": 0.003,
    "clock skew": 0.3,
    # the engine
    "execution lost": 0.006,
    "event delivered twice": 0.3,
    "task token answer lost": 0.2,
    # people
    "cancel": 0.25,
    "retry": 0.7,
    "rollback": 0.6,
    "object overwritten": 0.3,
    "execution stopped": 0.15,
}
"""Kinds, with the chance of each in a schedule that has it at its usual rate."""

SEEN: Final = (
    "merged without staging",
    "merged from staging",
    "announced again",
    "competing imports of one audience",
    "late attempt",
    "append conflict",
    "version committed while a publisher slept",
    "rollback while a publisher slept",
    "superseded",
    "wait without a heartbeat",
)
"""Consequences of faults: not injected, but counted when seen, and required by the test as well."""


@dataclass
class Faults:
    """The faults of one schedule, which asks `strike` at every chance of one."""

    seed: int
    without: Set[str] = frozenset()  # kinds, or numbers of single faults ("kind#12")
    kinds: Mapping[str, float] = field(default_factory=lambda: KINDS)
    active: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    struck: list[str] = field(default_factory=list)
    say: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(f"faults {self.seed}")
        intensity = self.random.choice((0.1, 0.3, 0.5, 0.8))
        self._rates = {
            kind: rate * self.random.choice((0.5, 1.0, 2.0)) if self.random.random() < intensity else 0.0
            for kind, rate in self.kinds.items()
        }
        self._chances: Counter[str] = Counter()
        self._luck = {kind: random.Random(f"{kind} {self.seed}") for kind, rate in self._rates.items() if rate}

    def strike(self, kind: str) -> bool:
        """True if the fault takes place here."""
        rate = self._rates[kind]
        if not rate or not self.active:
            return False
        self._chances[kind] += 1
        if self._luck[kind].random() >= rate:
            return False
        name = f"{kind}#{self._chances[kind]}"
        if kind in self.without or name in self.without:
            return False
        self.struck.append(name)
        self.saw(kind, name)
        return True

    def saw(self, kind: str, detail: str = "") -> None:
        """Count something that took place."""
        self.counts[kind] += 1
        if self.say is not None:
            self.say(f"!! {detail or kind}")

    def among(self, low: float, high: float) -> float:
        """A random duration or amount in this range."""
        return self.random.uniform(low, high)
