"""An evaluator's state of the users of one tenant and partition: mostly columns by user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segmentation.evaluation.amounts import Amounts
from segmentation.evaluation.columns import Columns, Flags, Users, grown
from segmentation.evaluation.followed import Followed
from segmentation.evaluation.latest import Deadlines, LatestEvents, LatestValues, Rows
from segmentation.evaluation.pending import Occurrences, PendingEvents
from segmentation.evaluation.plan import AttributeTest, Keyed, Numbered, Plan, Timed, kind_of
from segmentation.evaluation.spans import Spans
from segmentation.evaluation.user_index import UserIndex
from segmentation.rules.events import Events
from segmentation.rules.nodes import Member, Split
from segmentation.rules.sequences import Sequence
from segmentation.rules.splits import bucket

BooleanFact = AttributeTest | Member | Split


@dataclass(slots=True, kw_only=True)
class State:
    """The answer at (records taken so far, `at_us`), and everything needed to continue from there.

    Flags are indexed by user number. `known`: the user has an event or a profile. `true`: results of tests that time
    does not change, memberships, and splits. `spans`: when the other tests are true. `followed`: the moments of steps
    of sequences. `amounts`: the numbers that are summed. `inside`: the user is in the segment.
    `pending` numbers the kinds of events as `latest` does.
    """

    at_us: int
    index: UserIndex = field(default_factory=UserIndex)
    known: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    latest: dict[Events | Keyed, LatestEvents]
    amounts: dict[Numbered, Amounts]
    deadlines: dict[Timed, Deadlines]
    pending: PendingEvents = field(default_factory=PendingEvents)
    true: dict[BooleanFact, Flags]
    spans: dict[AttributeTest, Spans]
    followed: dict[Sequence, Followed]
    inside: dict[str, Flags]

    @classmethod
    def empty(cls, plan: Plan, at_us: int) -> Self:
        """The state before the first record."""
        facts: tuple[BooleanFact, ...] = (
            *(test for test in plan.tests if not test.is_timed),
            *plan.members,
            *plan.splits,
        )
        return cls(
            at_us=at_us,
            latest={kind: _latest(kind)(keep) for kind, keep in plan.keep.items()},
            amounts={kind: Amounts(*kept) for kind, kept in plan.amounts.items()},
            deadlines={one: Deadlines() for one in plan.timed},
            true={one: np.zeros(0, np.bool_) for one in facts},
            spans={test: Spans(test.condition, test.timezone) for test in plan.tests if test.is_timed},
            followed={timed: Followed(timed) for timed in plan.timed if isinstance(timed, Sequence)},
            inside={name: np.zeros(0, np.bool_) for name in plan.order},
        )

    @property
    def nbytes(self) -> int:
        """Memory in use, without future events."""
        flags = sum(column.nbytes for column in (self.known, *self.true.values(), *self.inside.values()))
        events = sum(latest.nbytes for latest in self.latest.values())
        times = sum(due.nbytes for due in self.deadlines.values()) + sum(span.nbytes for span in self.spans.values())
        moments = sum(followed.nbytes for followed in self.followed.values())
        numbers = sum(amounts.nbytes for amounts in self.amounts.values())
        return flags + events + numbers + moments + times + self.index.nbytes

    def members(self, segment: str) -> pa.StringArray:
        """Members of a segment, in no order."""
        return self.index.ids(np.flatnonzero(self.inside[segment][: len(self.index)]).astype(np.int32))

    def number(self, user_ids: pa.StringArray) -> Users:
        """int32[n]: the numbers of users, known or not, with room for their facts."""
        first = len(self.index)
        users = self.index.add(user_ids)
        self.grow()
        if len(self.index) > first:
            self.forget_attributes(slice(first, len(self.index)))
            self.assign([one for one in self.true if isinstance(one, Split)], first)
        return users

    def assign(self, splits: Iterable[Split], first: int = 0) -> None:
        """Give users from a number on their places in splits."""
        buckets: dict[str, npt.NDArray[np.int32]] = {}
        for split in splits:
            if split.name not in buckets:
                ids = self.index.ids(np.arange(first, len(self.index), dtype=np.int32)).to_pylist()
                buckets[split.name] = np.fromiter((bucket(split.name, one) for one in ids), np.int32, len(ids))
            of_user = buckets[split.name]
            self.true[split][first : len(self.index)] = (split.begin <= of_user) & (of_user < split.before)

    def forget_attributes(self, users: Flags | slice) -> None:
        """Give users the results of tests on a profile without attributes, which a rule may ask for."""
        for test, flags in self.true.items():
            if isinstance(test, AttributeTest):
                flags[users] = test.true_without_attributes

    def users(self, timed: Timed, rows: Rows) -> Users:
        """The users of the rows of the deadlines of one."""
        if isinstance(timed, AttributeTest | Sequence):
            return rows
        kind = kind_of(timed)
        return rows if isinstance(kind, Numbered) else self.latest[kind].users(rows)

    def tested(self, test: AttributeTest) -> bool:
        """Whether there are results of a test."""
        return test in self.true or test in self.spans

    def grow(self) -> None:
        """Make room for every user of the index."""
        self.known = grown(self.known, len(self.index))
        self.true = {one: grown(flags, len(self.known)) for one, flags in self.true.items()}
        self.inside = {name: grown(flags, len(self.known)) for name, flags in self.inside.items()}
        for spans in self.spans.values():
            spans.grow(len(self.known))
        for followed in self.followed.values():
            followed.grow(len(self.known))
        for amounts in self.amounts.values():
            amounts.grow(len(self.known))

    def columns(self) -> Columns:
        """Columns from which `from_columns` builds an equal state, with the same plan. Deadlines follow from them."""
        users = len(self.index)
        out = {f"index.{name}": column for name, column in self.index.columns().items()}
        out["known"] = self.known[:users]
        for number, latest in enumerate(self.latest.values()):
            out |= {f"latest.{number}.{name}": column for name, column in latest.columns().items()}
        for number, flags in enumerate(self.true.values()):
            out[f"true.{number}"] = flags[:users]
        for number, spans in enumerate(self.spans.values()):
            out |= {f"spans.{number}.{name}": column for name, column in spans.columns(users).items()}
        for number, followed in enumerate(self.followed.values()):
            out |= {f"followed.{number}.{name}": column for name, column in followed.columns(users).items()}
        for number, amounts in enumerate(self.amounts.values()):
            out |= {f"amounts.{number}.{name}": column for name, column in amounts.columns(users).items()}
        for number, flags in enumerate(self.inside.values()):
            out[f"inside.{number}"] = flags[:users]
        out |= {f"pending.{name}": column for name, column in self.pending.events._asdict().items()}
        return out

    @classmethod
    def from_columns(cls, plan: Plan, at_us: int, columns: Columns) -> Self:
        """Inverse of `columns`, which it takes over. Call the evaluator's `settle` next: there are no deadlines yet."""
        out = cls.empty(plan, at_us)
        out.index = UserIndex.from_columns(_with_prefix(columns, "index."))
        out.known = columns["known"]
        out.latest = {
            kind: _latest(kind).from_columns(_with_prefix(columns, f"latest.{number}."))
            for number, kind in enumerate(plan.keep)
        }
        out.true = {one: columns[f"true.{number}"] for number, one in enumerate(out.true)}
        for number, spans in enumerate(out.spans.values()):
            spans.take_over(_with_prefix(columns, f"spans.{number}."))
        for number, followed in enumerate(out.followed.values()):
            followed.take_over(_with_prefix(columns, f"followed.{number}."))
        for number, amounts in enumerate(out.amounts.values()):
            amounts.take_over(_with_prefix(columns, f"amounts.{number}."))
        out.inside = {name: columns[f"inside.{number}"] for number, name in enumerate(out.inside)}
        pending = _with_prefix(columns, "pending.")  # earlier versions summed nothing
        nothing = {"amounts": np.zeros(len(pending["users"]), np.int64)}
        out.pending.add(Occurrences(**{**nothing, **pending}))
        out.grow()
        out.forget_attributes(~out.known)  # earlier versions kept no results of users who are not known
        return out


def _latest(kind: Events | Keyed) -> type[LatestEvents]:
    return LatestValues if isinstance(kind, Keyed) else LatestEvents


def _with_prefix(columns: Columns, prefix: str) -> Mapping[str, np.ndarray]:
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
