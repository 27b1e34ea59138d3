"""Dead letters, for those who run the deployment. Topics are shared: they belong to no tenant."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final, Literal

from orchestration.access.bodies.dead_letters import MAX_OFFSET, DeadLetterSelection
from orchestration.access.guard import Entry, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.worker_groups import OF_KAFKA
from orchestration.catalog.dead_letter_marks import SentLetter
from orchestration.platform.clock import now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import (
    ListDeadLetters,
    ReadDeadLetter,
    ReplayDeadLetters,
    SelectDeadLetters,
)
from orchestration.records.dead_letters import DeadLetters, Dismissed, Replayed, WholeDeadLetter
from orchestration.records.fields import About
from schemas.dead_letters import DeadLetterState
from schemas.errors import MusterError, RetriableError

OF_LETTERS: Final = (*OF_KAFKA, "TOPIC_MISSING")
BATCH: Final = 200
"""Letters that are claimed, sent and marked together: so many are interrupted at most if a process dies."""

BEFORE_SENDING: Final = frozenset(
    {"KAFKA_UNAVAILABLE", "LOGON_REFUSED", "NO_SUCH_DEAD_LETTER", "READERS_BUSY", "STACK_NOT_RUNNING", "TOPIC_MISSING"}
)
"""Errors of a reader that has sent nothing."""


class DeadLetterQueue(DeploymentView):
    """Dead letters as one caller sees and handles them."""

    @recorded(Action.READ_DEPLOYMENT, "dead-letters list", "GET /dead-letters", problems=OF_LETTERS)
    def list_dead_letters(
        self,
        entry: Entry,
        cancellation: Cancellation,
        *,
        limit: Annotated[int, About(ge=1, le=10_000)] = 50,
        state: Annotated[list[DeadLetterState] | None, About("Repeatable; default: all states.")] = None,
    ) -> DeadLetters:
        """The newest records that no worker could process, and what became of them."""
        entry.object = "dead-letters"  # recorded, since they show bytes of unknown tenants
        entry.arguments = {"limit": limit, **({"states": state} if state else {})}
        return self._ask(DeadLetters, ListDeadLetters(limit=limit, states=tuple(state or ())), cancellation)

    @recorded(
        Action.READ_PAYLOADS,
        "dead-letters show",
        "GET /dead-letters/{dead_letter}",
        problems=(*OF_LETTERS, "NO_SUCH_DEAD_LETTER"),
    )
    def get_dead_letter(
        self, entry: Entry, cancellation: Cancellation, dead_letter: Annotated[int, About(ge=0, le=MAX_OFFSET)]
    ) -> WholeDeadLetter:
        """One dead letter with its key and value. The read is recorded, since records show users."""
        entry.object, entry.arguments = "dead-letters", {"dead_letter": dead_letter}
        return self._ask(WholeDeadLetter, ReadDeadLetter(number=dead_letter), cancellation)

    @recorded(
        Action.READ_DEPLOYMENT,
        "dead-letters replay",
        "POST /dead-letters/replays",
        problems=(*OF_LETTERS, "NO_SUCH_DEAD_LETTER"),
    )
    def replay_dead_letters(self, entry: Entry, cancellation: Cancellation, body: DeadLetterSelection) -> Replayed:
        """Send dead letters to their topics again: the original bytes to the original partitions, each letter once.

        Letters that were replayed or dismissed are left alone. Only a number replays one that is dismissed or
        interrupted.
        """
        del cancellation  # what has begun is carried out, also if the client goes
        with Cancellation() as never:
            found, sent = self._chosen(entry, body, never), 0
            for batch in _batches(found["numbers"]):
                # Each is claimed before it is sent, so a repeated request sends nothing twice.
                claimed = self._take(found, batch, "replaying", named=body.dead_letters is not None)
                if claimed:
                    sent += self._send(found["topic_id"], claimed, never)
                entry.after = {"sent": sent}
        return Replayed(sent=sent, already=len(found["numbers"]) - sent, more=found["more"])

    @recorded(
        Action.READ_DEPLOYMENT,
        "dead-letters dismiss",
        "POST /dead-letters/dismissals",
        problems=(*OF_LETTERS, "NO_SUCH_DEAD_LETTER"),
    )
    def dismiss_dead_letters(self, entry: Entry, cancellation: Cancellation, body: DeadLetterSelection) -> Dismissed:
        """Dismiss dead letters: they stay in their topic, but are no longer open. Replayed ones are left alone."""
        del cancellation  # as above
        with Cancellation() as never:
            found = self._chosen(entry, body, never)
        named = body.dead_letters is not None
        done = sum(len(self._take(found, batch, "dismissed", named=named)) for batch in _batches(found["numbers"]))
        entry.after = {"dismissed": done}
        return Dismissed(dismissed=done, already=len(found["numbers"]) - done, more=found["more"])

    def _chosen(self, entry: Entry, body: DeadLetterSelection, cancellation: Cancellation) -> Record:
        entry.object = "dead-letters"
        entry.arguments = {"dead_letters": body.dead_letters, **body.model_dump(exclude_none=True)}
        numbers = None if body.dead_letters is None else tuple(body.dead_letters)
        question = SelectDeadLetters(numbers=numbers, topic=body.topic, code=body.code, up_to=body.up_to)
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
