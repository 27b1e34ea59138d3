"""The optimistic commit behind every change to a table of the lake.

1. load the table
2. decide from what was loaded; a result that needs no commit ends here
3. stage the decision in one transaction
4. commit; the catalog refuses it if the table no longer meets the transaction's requirements
5. if lost, or if the outcome is unknown: repeat from step 1

A decision is committed only on the table that it was made from: step 5 applies the rules again. The response of a
commit may get lost after the catalog has accepted it, so a decision must recognise its own commit in the table.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from connectors.lake.faults import lake_faults, translated
from schemas.errors import MusterError, RetriableError

if TYPE_CHECKING:
    from pyiceberg.table import Transaction

TRIES: Final = 20
BACKOFF_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Settled(Generic[Result]):
    """A decision that needs no commit: its result."""

    result: Result


@dataclass(frozen=True, slots=True)
class Staged(Generic[Result]):
    """A decision that needs this commit to the loaded table, and its result once the catalog has accepted it."""

    transaction: "Transaction"
    result: Result


Decision = Settled[Result] | Staged[Result]


def decide_and_commit(
    load: Callable[[], Loaded],
    decide: Callable[[Loaded], Decision[Result]],
    *,
    doing: str,
    conflict: RetriableError,
    sleep: Callable[[float], None],
) -> Result:
    """Steps 1 to 5, at most `TRIES` times. `decide` also stages. `doing` is for errors ("publishing a version of vip").

    An outage in step 1 is raised at once, as `lake_faults` translates it. A later one counts as a lost try, since after
    step 4 the outcome may be unknown. Raises what `load` and `decide` raise; after the last try `conflict`, or the
    `RetriableError` of the outage that ended it.
    """
    failure: RetriableError | None = None
    for tried in range(TRIES):
        if tried:
            sleep(min(BACKOFF_MAX_S, BACKOFF_S * 2**tried) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
        with lake_faults(doing):
            loaded = load()  # 1
        try:
            decision = decide(loaded)  # 2, 3
            if isinstance(decision, Staged):
                decision.transaction.commit_transaction()  # 4
        except MusterError:
            raise
        except Exception as exc:
            if _is_conflict(exc):
                failure = None
            elif isinstance(error := translated(exc, doing), RetriableError):
                failure = error
            elif error is None:
                raise
            else:
                raise error from exc
        else:
            return decision.result
    raise failure or conflict


def commit_conflict(code: str, **subject: str) -> RetriableError:
    """The error after losing every try: `commit_conflict("HOLD_CONFLICT", audience="vip")`."""
    [name] = subject.values()
    return RetriableError(
        code, f"{name}: {TRIES} consecutive commits lost to other writers; try again later", **subject, tries=TRIES
    )


def require_tag(transaction: "Transaction", tag: str, snapshot_id: int) -> None:
    """Make the commit fail unless `tag` still points to the snapshot. Call it last.

    Staging keeps one requirement of a kind, the one on `main`. Without this one a concurrent expiry could delete the
    tag's files between the decision and the commit.
    """
    from pyiceberg.table.update import AssertRefSnapshotId

    required = AssertRefSnapshotId.model_validate({"snapshot-id": snapshot_id, "ref": tag})
    transaction._requirements += (required,)  # noqa: SLF001  # pyiceberg has no public way


def _is_conflict(exc: Exception) -> bool:
    """True if the exception proves that nothing was committed because of another writer."""
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    if isinstance(exc, CommitFailedException | ValidationException):
        return True
    # A snapshot to be expired was already removed by another expiry.
    return isinstance(exc, ValueError) and str(exc).startswith("Snapshot with snapshot id")
