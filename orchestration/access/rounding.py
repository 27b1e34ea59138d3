"""Counts for callers who may not read users: noise, then rounding to ten, so that no answer depends on one person.

Whoever may choose rules can ask for one person (`email = "x" and salary >= N`), also together with enough known users
to reach any place at which numbers are rounded or cut off. Rounding alone would tell the one person at that place. So
each number first gets noise: a discrete Laplace distribution, by which any answer is almost as likely with the person
as without (the ratio is at most exp(1 / SCALE)).

The noise of a question is fixed: it follows from the canonical rule and a secret of the deployment, so asking again
brings nothing. It does not follow from the users found, which would tell equal sets. Different rules for the same
users have different noise, and averaging them is what the limit of counts is for (docs/security.md).
"""

import hmac
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from orchestration.readers.sampling import scaled
from orchestration.records.questions import ConditionCount, Count, Forecast, ForecastPoint, GroupCount
from schemas.ids import TenantName
from segmentation.rules.canonical import canonical_json
from segmentation.rules.nodes import Group, Rule

CountT = TypeVar("CountT", Count, GroupCount, ConditionCount, ForecastPoint)
TO: Final = 10
SCALE: Final = 5.0
"""Of the noise: 95 % of it is within 15, so a rounded number is within `SPREAD` of the true one."""
SPREAD: Final = 20
DRAWS: Final = 1 << 16
_ALPHA: Final = math.exp(-1 / SCALE)


def noise(draw: int) -> int:
    """The noise of a draw from 0 to DRAWS - 1: k with a probability proportional to exp(-|k| / SCALE)."""
    share = (draw + 0.5) / DRAWS * (1 + _ALPHA)
    if share <= _ALPHA:
        return -math.floor(math.log(share) / math.log(_ALPHA))
    return math.floor(math.log(1 + _ALPHA - share) / math.log(_ALPHA))


def rounded(found: int, draw: int) -> int:
    """The number that stands for `found`: a multiple of `TO`, 0 for all below it."""
    return max(0, (found + noise(draw) + TO // 2) // TO * TO)


def questions(rule: Rule) -> list[bytes]:
    """The distinct numbers that an answer about a rule has, each by the canonical rule that it counts."""
    return sorted({_question(one, rule) for one in _parts(rule)})


def _question(part: Rule, rule: Rule) -> bytes:
    """A part of a rule, counted among the users whom the whole rule asks about."""
    admits = () if part is rule else sorted((member.kind, member.name) for member in rule.admits)
    return b"\0".join((canonical_json(part), *(f"{kind} {name}".encode() for kind, name in admits)))


def _parts(rule: Rule) -> Iterator[Rule]:
    """The rule, then each of its groups, followed by its conditions."""
    yield rule
    for group in rule.groups:
        yield replace(rule, groups=(group,))
        for condition in group.conditions:
            yield replace(rule, groups=(Group(conditions=(condition,)),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Rounds the answers of a tenant. `secret`: of the deployment."""

    secret: bytes
    tenant: TenantName

    def answer(self, rule: Rule, found: Count, partitions: int) -> Count:
        """An exact count or an estimate, with rounded numbers; an estimate is of one of `partitions`."""
        sampled = partitions if found.precision == "estimate" else 1
        parts = _parts(rule)
        whole = self._rounded(_question(next(parts), rule), found, sampled)
        groups = []
        for group in found.groups:
            number = self._rounded(_question(next(parts), rule), group, sampled)
            conditions = [self._rounded(_question(next(parts), rule), one, sampled) for one in group.conditions]
            groups.append(replace(number, conditions=conditions))
        precision: Literal["rounded", "estimate"] = "rounded" if sampled == 1 else "estimate"
        return replace(whole, precision=precision, groups=groups, known_only_by=None, rounded_to=TO * sampled)

    def forecast(self, rule: Rule, found: Forecast) -> Forecast:
        """A forecast with rounded numbers. Each instant is a question of its own."""
        points = [
            self._rounded(b"\0".join((b"forecast", str(one.in_s).encode(), _question(rule, rule))), one, 1)
            for one in found.points
        ]
        return replace(found, points=points, precision="rounded", rounded_to=TO)

    def _rounded(self, counted: bytes, found: CountT, sampled: int) -> CountT:
        question = b"\0".join((self.tenant.encode(), str(sampled).encode(), counted))
        draw = int.from_bytes(hmac.digest(self.secret, question, "sha256")[:2], "big")
        users = rounded((found.members or 0) // sampled, draw)
        low, high = scaled(max(0, users - SPREAD), sampled).low, scaled(users + SPREAD, sampled).high
        return replace(found, members=users * sampled or None, interval=[low, high])
