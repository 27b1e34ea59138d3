"""Workers, lag and dead letters, for those who run the deployment. Topics are shared: they belong to no tenant."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Literal

from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.catalog.dead_letter_marks import SentLetter
from orchestration.platform.clock import now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import (
    ListDeadLetters,
    ListWorkers,
    ReadDeadLetter,
    ReadLag,
    ReplayDeadLetters,
    SelectDeadLetters,
)
from schemas.dead_letters import DeadLetterState
from schemas.errors import MusterError, RetriableError

BATCH: Final = 200
"""Letters that are claimed, sent and marked together: so many are interrupted at most if a process dies."""

BEFORE_SENDING: Final = frozenset(
    {"KAFKA_UNAVAILABLE", "LOGON_REFUSED", "NO_SUCH_DEAD_LETTER", "READERS_BUSY", "STACK_NOT_RUNNING", "TOPIC_MISSING"}
)
"""Errors of a reader that has sent nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenLetters:
    """Letters by number, or (None) all open ones of a topic, with a code ("": without one), up to a number."""

    dead_letters: Sequence[int] | None = None
    topic: str | None = None
    code: str | None = None
    up_to: int | None = None

    def record(self) -> Record:
        """For the audit trail: what was given."""
        return {name: value for name, value in asdict(self).items() if value is not None or name == "dead_letters"}


class DeploymentKafkaView(DeploymentView):
    """Workers, lag and dead letters. Methods raise as `Readers.ask`, `RetriableError` KAFKA_UNAVAILABLE."""

    @reads(Action.READ_DEPLOYMENT)
    def workers(self, cancellation: Cancellation) -> Record:
        """The members of the groups of workers, and how many jobs wait for one."""
        found: Record = self._services.readers.ask(ListWorkers(), cancellation)
        return found

    @reads(Action.READ_DEPLOYMENT)
    def lag(self, cancellation: Cancellation) -> Record:
        """How far the groups of workers are behind, by partition."""
        found: Record = self._services.readers.ask(ReadLag(), cancellation)
        return found

    @recorded(Action.READ_DEPLOYMENT, "dead-letters list")
    def dead_letters(
        self, entry: Entry, cancellation: Cancellation, *, limit: int, states: Sequence[DeadLetterState] = ()
    ) -> Record:
        """The newest dead letters. They show bytes of unknown tenants, so the read is recorded."""
        entry.object, entry.arguments = "dead-letters", {"limit": limit, **({"states": list(states)} if states else {})}
        found: Record = self._services.readers.ask(ListDeadLetters(limit=limit, states=tuple(states)), cancellation)
        return found

    @recorded(Action.READ_PAYLOADS, "dead-letters show")
    def dead_letter(self, entry: Entry, cancellation: Cancellation, number: int) -> Record:
        """One dead letter with its key and value. Raises NO_SUCH_DEAD_LETTER."""
        entry.object, entry.arguments = "dead-letters", {"dead_letter": number}
        found: Record = self._services.readers.ask(ReadDeadLetter(number=number), cancellation)
        return found

    @recorded(Action.READ_DEPLOYMENT, "dead-letters replay")
    def replay_dead_letters(self, entry: Entry, chosen: ChosenLetters) -> Record:
        """Send dead letters to their topics again, also if the client goes. Raises NO_SUCH_DEAD_LETTER.

        Each is claimed before it is sent (`catalog.dead_letter_marks`), so a repeated request sends nothing twice.
        """
        with Cancellation() as never:
            found, sent = self._chosen(entry, chosen, never), 0
            for batch in _batches(found["numbers"]):
                claimed = self._take(found, batch, "replaying", named=chosen.dead_letters is not None)
                if claimed:
                    sent += self._send(found["topic_id"], claimed, never)
                entry.after = {"sent": sent}
        return {"sent": sent, "already": len(found["numbers"]) - sent, "more": found["more"]}

    @recorded(Action.READ_DEPLOYMENT, "dead-letters dismiss")
    def dismiss_dead_letters(self, entry: Entry, chosen: ChosenLetters) -> Record:
        """Dismiss dead letters that nobody has replayed. Raises NO_SUCH_DEAD_LETTER."""
        with Cancellation() as never:
            found = self._chosen(entry, chosen, never)
        named = chosen.dead_letters is not None
        done = sum(len(self._take(found, batch, "dismissed", named=named)) for batch in _batches(found["numbers"]))
        entry.after = {"dismissed": done}
        return {"dismissed": done, "already": len(found["numbers"]) - done, "more": found["more"]}

    def _chosen(self, entry: Entry, chosen: ChosenLetters, cancellation: Cancellation) -> Record:
        entry.object, entry.arguments = "dead-letters", chosen.record()
        numbers = None if chosen.dead_letters is None else tuple(chosen.dead_letters)
        question = SelectDeadLetters(numbers=numbers, topic=chosen.topic, code=chosen.code, up_to=chosen.up_to)
        found: Record = self._services.readers.ask(question, cancellation)
        return found

    def _take(
        self, found: Record, batch: Sequence[int], state: Literal["replaying", "dismissed"], *, named: bool
    ) -> list[int]:
        who = self._caller.principal.name
        return self._services.dead_letter_marks.take(
            found["topic_id"], batch, state, principal=who, now_ms=now_ms(), named=named
        )

    def _send(self, topic_id: str, claimed: Sequence[int], never: Cancellation) -> int:
        """Send claimed letters and mark them; returns how many. Those of which it is unknown are interrupted."""
        marks = self._services.dead_letter_marks
        try:
            answer = self._services.readers.ask(ReplayDeadLetters(topic_id=topic_id, numbers=tuple(claimed)), never)
        except MusterError as exc:
            with suppress(MusterError):  # the claim ends by itself
                marks.give_back(topic_id, claimed, unsent=exc.code in BEFORE_SENDING)
            raise
        sent = [SentLetter(**one) for one in answer["sent"]]
        marks.replayed(topic_id, sent, now_ms=now_ms())
        if len(sent) < len(claimed):
            marks.give_back(topic_id, claimed, unsent=False)
            raise RetriableError(
                "KAFKA_UNAVAILABLE",
                f"{len(claimed) - len(sent)} dead letters were not acknowledged ({answer['failed']}) and are "
                "`interrupted`; replay them by number once Kafka answers",
                sent=len(sent),
            )
        return len(sent)


def _batches(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)]
