"""Compares a reading with its twin and with the naive reader; says what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.hostile.damage import Damage
from tests.hostile.naive_csv import Reading, Refusal
from tests.hostile.twin import Twin, values

SILENT: Final = "silent misread"
"""The worst verdict: rows that differ from the twin, without an error or a reject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of reading a file: `refusal` (the code of the error), or rows and rejects as in `naive_csv.Reading`."""

    refusal: str = ""
    rows: Sequence[tuple[Any, ...]] = ()
    rejects: Sequence[tuple[Any, ...]] = ()


def naive_outcome(read: Any) -> Outcome:
    """Outcome of `read()`, which returns a `Reading` or raises `Refusal`."""
    try:
        reading: Reading = read()
    except Refusal as exc:
        return Outcome(refusal=exc.code)
    return Outcome(rows=reading.rows, rejects=reading.rejects)


def against_twin(twin: Twin, damage: Damage, outcome: Outcome) -> str:
    """What is wrong with an outcome, given the fault in the file; empty if nothing is."""
    if outcome.refusal:
        return "" if outcome.refusal in damage.refusals else f"refused with {outcome.refusal}"
    if damage.refusals and not damage.codes:
        return f"{SILENT}: read although it had to be refused with {sorted(damage.refusals)}"
    meant = [values(damage.changed.get(index, row)) for index, row in enumerate(twin.rows)]
    return _rows_fault(meant, damage, outcome) or _rejects_fault(damage, outcome)


def _rows_fault(meant: list[tuple[Any, ...]], damage: Damage, outcome: Outcome) -> str:
    """Check that the rows are those of the twin, in its order, and that only touched ones are missing."""
    missing: set[int] = set()
    at = 0
    for row in outcome.rows:
        while at < len(meant) and meant[at] != row[1:]:
            missing.add(at)
            at += 1
        if at == len(meant):
            return f"{SILENT}: {row!r} is no row of the twin"
        at += 1
    missing.update(range(at, len(meant)))
    unnotified = sorted(missing - damage.touched)
    return f"{SILENT}: the rows {unnotified[:5]} are missing" if unnotified else ""


def _rejects_fault(damage: Damage, outcome: Outcome) -> str:
    """Check that required rejects exist, with the right codes, and that each row has its number."""
    found = {code for *_, code in outcome.rejects}
    ordinals = sorted([row[0] for row in outcome.rows] + [reject[0] for reject in outcome.rejects])
    if damage.codes and not found:
        return f"{SILENT}: no reject names the fault"
    if found - damage.codes:
        return f"rejects {sorted(found - damage.codes)} where the fault is {sorted(damage.codes)}"
    if ordinals != list(range(len(ordinals))):
        return f"{SILENT}: the ordinals are not 0 to {len(ordinals) - 1}"
    return ""


def against_naive(expected: Outcome, outcome: Outcome) -> str:
    """Difference to the naive reader; empty if there is none."""
    if outcome.refusal != expected.refusal:
        return f"refused with {outcome.refusal or 'nothing'}, not with {expected.refusal or 'nothing'}"
    for mine, theirs in zip(outcome.rows, expected.rows, strict=False):
        if mine != theirs:
            return f"{SILENT}: read {mine!r}, which is {theirs!r}"
    if len(outcome.rows) != len(expected.rows):
        return f"{SILENT}: {len(outcome.rows)} rows, not {len(expected.rows)}"
    if list(outcome.rejects) != list(expected.rejects):
        pairs = zip([*outcome.rejects, None], [*expected.rejects, None], strict=False)
        return "reject {}, not {}".format(*next(pair for pair in pairs if pair[0] != pair[1]))
    return ""
