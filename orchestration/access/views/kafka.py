"""Workers, lag and dead letters, for those who run the deployment. Topics are shared: they belong to no tenant."""

from collections.abc import Sequence

from orchestration.access.guard import Note, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import ListDeadLetters, ListWorkers, ReadLag, ReplayDeadLetters


class DeploymentKafkaView(DeploymentView):
    """Workers, lag and dead letters. Methods raise as `Readers.ask`, `RetriableError` KAFKA_UNAVAILABLE."""

    @reads(Action.READ_DEPLOYMENT)
    def workers(self, cancellation: Cancellation) -> Record:
        """The members of the groups of workers, and how many jobs wait for one."""
        found: Record = self._stores.readers.ask(ListWorkers(), cancellation)
        return found

    @reads(Action.READ_DEPLOYMENT)
    def lag(self, cancellation: Cancellation) -> Record:
        """How far the groups of workers are behind, by partition."""
        found: Record = self._stores.readers.ask(ReadLag(), cancellation)
        return found

    @recorded(Action.READ_DEPLOYMENT, "dead-letters list")
    def dead_letters(self, note: Note, cancellation: Cancellation, *, limit: int) -> Record:
        """The newest dead letters. They show bytes of unknown tenants, so the read is recorded."""
        note.object, note.arguments = "dead-letters", {"limit": limit}
        found: Record = self._stores.readers.ask(ListDeadLetters(limit=limit), cancellation)
        return found

    @recorded(Action.READ_DEPLOYMENT, "dead-letters replay")
    def replay_dead_letters(self, note: Note, numbers: Sequence[int] | None) -> Record:
        """Send dead letters (None: all) to their topics again, also if the client goes. Raises NO_SUCH_DEAD_LETTER."""
        note.object = "dead-letters"
        note.arguments = {"dead_letters": None if numbers is None else list(numbers)}
        question = ReplayDeadLetters(numbers=None if numbers is None else tuple(numbers))
        with Cancellation() as never:
            found: Record = self._stores.readers.ask(question, never)
        note.after = found
        return found
