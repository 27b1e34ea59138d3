"""Which faults a schedule has, and how often each took place.

Swarm testing (Groce et al., ISSTA 2012): each seed has a random subset of the kinds, at random rates, so that schedules
differ in character and not only in detail. Every chance of a fault is numbered; a fault may be suppressed by its number
or its kind without moving any other, which is what makes a schedule shrink.
"""

import random
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

KINDS: Final[dict[str, float]] = {
    # a call of a store fails before it has done anything / has done it and the reply is lost / is slow
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
"""Kinds, and the chance of each where a schedule has it at its usual rate."""

SEEN: Final = (
    "competing imports of one audience",
    "late attempt",
    "append conflict",
    "version committed while a publisher slept",
    "rollback while a publisher slept",
    "superseded",
)
"""What faults lead to: not injected, but counted when it is seen to happen, and asserted as well."""


@dataclass
class Faults:
    """The faults of one schedule. `strike` is asked at every chance."""

    seed: int
    without: Set[str] = frozenset()  # kinds, or numbers of single faults ("kind#12")
    active: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    struck: list[str] = field(default_factory=list)
    say: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(f"faults {self.seed}")
        intensity = self.random.choice((0.1, 0.3, 0.5, 0.8))
        self._rates = {
            kind: rate * self.random.choice((0.5, 1.0, 2.0)) if self.random.random() < intensity else 0.0
            for kind, rate in KINDS.items()
        }
        self._chances: Counter[str] = Counter()
        self._luck = {kind: random.Random(f"{kind} {self.seed}") for kind, rate in self._rates.items() if rate}

    def strike(self, kind: str) -> bool:
        """Whether the fault takes place here."""
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
        """Something took place."""
        self.counts[kind] += 1
        if self.say is not None:
            self.say(f"!! {detail or kind}")

    def among(self, low: float, high: float) -> float:
        """How long, how much."""
        return self.random.uniform(low, high)
