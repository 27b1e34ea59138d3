"""How many users there are if one of P partitions has so many: the user's id decides the partition, like a fair die.

Of M users, the number in one partition has a binomial distribution with probability 1/P. The interval is the score
interval of M at 95 %: it solves (M/P - n)^2 = z^2 M (1/P)(1 - 1/P), and is right where n is small or zero too.
"""

import math
from dataclasses import dataclass
from typing import Final

Z: Final = 1.959964
"""Of the normal distribution, two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of users, between `low` and `high` with 95 % confidence; all equal if it is exact."""

    users: int
    low: int
    high: int


def exactly(users: int) -> Estimate:
    """An exact number."""
    return Estimate(users, users, users)


def scaled(found: int, partitions: int) -> Estimate:
    """An estimate of all users, with `found` of them in one of `partitions`."""
    if partitions == 1:
        return exactly(found)
    middle = 2 * partitions * found + Z * Z * (partitions - 1)
    spread = math.sqrt(max(0.0, middle * middle - 4 * (partitions * found) ** 2))
    return Estimate(partitions * found, max(found, math.floor((middle - spread) / 2)), math.ceil((middle + spread) / 2))
