"""What became of dead letters, kept beside their topic, whose records never change.

1. A replay claims letters: one statement inserts their marks, so of two replays each letter belongs to one.
2. It sends their records.
3. It marks them as replayed, with the position of each record.

If the process dies between 1 and 3, it is unknown whether the records were sent. Such a letter is `interrupted`, and is
sent again only if a request names it: a record without an id would count twice.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import dead_letter_marks as table
from orchestration.catalog.upsert import inserting
from schemas.dead_letters import DeadLetterState

LEASE_MS: Final = 300_000
"""A claim is interrupted after this time. The question that sends the records ends after 45 s."""
KEPT_MS: Final = 60 * 24 * 3_600_000
"""Their topic keeps letters for 21 days."""
_OVER: Final[Mapping[str, tuple[DeadLetterState, ...]]] = {
    "replaying": ("interrupted", "dismissed"),
    "dismissed": ("interrupted",),
}
"""States that a request may replace if it names the letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterMark:
    """What became of a letter. `principal`: the name of who did it. `sent_*`: the position of its new record."""

    state: DeadLetterState
    at_ms: int
    principal: str
    sent_topic: str | None = None
    sent_partition: int | None = None
    sent_offset: int | None = None

    def state_at(self, now_ms: int) -> DeadLetterState:
        """The state, knowing that a claim does not last."""
        return "interrupted" if self.state == "replaying" and self.at_ms <= now_ms - LEASE_MS else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class SentLetter:
    """The position of the new record of a letter."""

    dead_letter: int
    topic: str
    partition: int
    offset: int


class DeadLetterMarks:
    """Marks. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, topic_id: str, *, since: int = 0) -> dict[int, DeadLetterMark]:
        """The marks of a topic by number, from a number on."""
        values = [table.c[name] for name in DeadLetterMark.__dataclass_fields__]
        own = (table.c.topic_id == topic_id) & (table.c.dead_letter >= since)
        with self._database.read() as connection:
            found = connection.execute(sa.select(table.c.dead_letter, *values).where(own)).mappings()
            return {row.pop("dead_letter"): DeadLetterMark(**row) for row in map(dict[str, Any], found)}

    def take(
        self,
        topic_id: str,
        letters: Collection[int],
        state: Literal["replaying", "dismissed"],
        *,
        principal: str,
        now_ms: int,
        named: bool,
    ) -> list[int]:
        """Claim letters for a replay, or dismiss them; returns the numbers of those taken.

        `named`: also interrupted ones, and for a replay dismissed ones. All other marked letters are left alone.
        """
        if not letters:
            return []
        values = {"state": state, "at_ms": now_ms, "principal": principal}
        lost = (table.c.state == "replaying") & (table.c.at_ms <= now_ms - LEASE_MS)
        free = table.c.state.in_(_OVER[state]) | lost if named else sa.false()
        with self._database.write() as connection:
            connection.execute(table.delete().where(table.c.at_ms < now_ms - KEPT_MS))
            taken = connection.scalars(
                inserting(connection, table)
                .values([{"topic_id": topic_id, "dead_letter": one, **values} for one in sorted(letters)])
                .on_conflict_do_update(index_elements=["topic_id", "dead_letter"], set_=values, where=free)
                .returning(table.c.dead_letter)
            )
            return sorted(taken)

    def replayed(self, topic_id: str, sent: Collection[SentLetter], *, now_ms: int) -> None:
        """Mark claimed letters whose records were sent."""
        with self._database.write() as connection:
            for one in sent:
                position = {"sent_topic": one.topic, "sent_partition": one.partition, "sent_offset": one.offset}
                claimed = (table.c.topic_id == topic_id) & (table.c.dead_letter == one.dead_letter)
                connection.execute(table.update().where(claimed).values(state="replayed", at_ms=now_ms, **position))

    def give_back(self, topic_id: str, letters: Collection[int], *, unsent: bool) -> None:
        """End claims: `unsent` letters are open again, all others interrupted. Replayed ones stay so."""
        claimed = (table.c.topic_id == topic_id) & table.c.dead_letter.in_(letters) & (table.c.state == "replaying")
        end = table.delete() if unsent else table.update().values(state="interrupted")
        with self._database.write() as connection:
            connection.execute(end.where(claimed))
