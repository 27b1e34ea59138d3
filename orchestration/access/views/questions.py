"""Questions about a tenant's data: counts, names, users, SQL. Readers answer."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connectors.lake.sql_tree import AudienceCall, Call, RejectsCall
from orchestration.access.guard import SHOWN, Entry, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.rounding import Rounding, questions
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Job
from orchestration.operations.segments import rule_of
from orchestration.platform.budget import DAY_S
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import (
    CountUsers,
    ExplainUser,
    FindRejectsFile,
    FindVersionFiles,
    ListNames,
    LookUpUser,
    MeasureSegment,
    Question,
)
from schemas.errors import UserError
from schemas.ids import segment_name


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCount:
    """A draft to count. `editor` and `revision`: of the program that edits it; a higher revision replaces lower ones.

    `users`: how many members to name.
    """

    rule: str
    timezone: str | None = None
    exact: bool = False
    users: int = 0
    notes: bool = False
    editor: str | None = None
    revision: int = 0


class QuestionsView(TenantView):
    """What one caller may ask. Every question can be given up from another thread."""

    @recorded(Action.READ, "counts")
    def count(self, entry: Entry, cancellation: Cancellation, wanted: WantedCount) -> Record:
        """How many users a rule matches; see `answers.counts`.

        Exact numbers need the right to read users: a rule can be true of one person alone. Without it they are rounded
        (`access.rounding`), and limited. Raises `UserError` TOO_MANY_COUNTS, SUPERSEDED, TOO_MANY_QUESTIONS, and those
        of the rule; `RetriableError` as `Readers.ask`.
        """
        exact = Action.READ_USERS in self.permitted
        entry.object, entry.arguments = "counts", {"rule": wanted.rule[:SHOWN], "exact": exact}
        if exact:
            return {**self._count(cancellation, wanted), "rounded_to": None}
        rule, settings = rule_of(wanted.rule, wanted.timezone).rule, self._services.settings
        self._spend(len(questions(rule)))
        rounding = Rounding(secret=settings.counts_secret(), tenant=self._name)
        return rounding.answer(rule, self._count(cancellation, wanted), self._services.partitions)

    @recorded(Action.READ_USERS, "counts")
    def count_with_users(self, entry: Entry, cancellation: Cancellation, wanted: WantedCount) -> Record:
        """As `count`, and some of the members."""
        entry.object, entry.arguments = "counts", {"rule": wanted.rule[:SHOWN], "users": wanted.users}
        return {**self._count(cancellation, wanted), "rounded_to": None}

    def _spend(self, numbers: int) -> None:
        if wait_s := self._services.count_budget.take(self._caller.principal_id, numbers):
            most = self._services.settings.counts_per_day
            raise UserError(
                "TOO_MANY_COUNTS",
                f"without the right to read users, {most} numbers a day can be counted, and this rule has {numbers}: "
                "itself, its groups and its conditions; wait, or ask an administrator for the role analyst",
                numbers=numbers,
                per_day=most,
                retry_after_s=math.ceil(min(wait_s, DAY_S)),
            )

    def _count(self, cancellation: Cancellation, wanted: WantedCount) -> Record:
        question = CountUsers(
            tenant=self._name,
            rule=wanted.rule,
            timezone=wanted.timezone,
            exact=wanted.exact,
            users=wanted.users,
            notes=wanted.notes,
        )
        if wanted.editor is None:
            return self._ask(question, cancellation)
        editor = (self._caller.principal_id, self._name, wanted.editor)
        with self._services.readers.turns.newest(editor, wanted.revision, cancellation):
            return self._ask(question, cancellation)

    @reads(Action.READ)
    def names(self, cancellation: Cancellation) -> Record:
        """Events with their properties, attributes and audiences, for those who write rules."""
        return self._ask(ListNames(tenant=self._name), cancellation)

    @reads(Action.READ)
    def coverage(self, cancellation: Cancellation, segment: str) -> Record:
        """How far a segment is behind, and how many members of its audiences its rule does not cover.

        Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT.
        """
        found = self._services.segments.get(self._name, segment_name(segment))
        return self._ask(MeasureSegment(tenant=self._name, segment=found.name), cancellation)

    @recorded(Action.READ_USERS, "users look up")
    def look_up_user(self, entry: Entry, cancellation: Cancellation, user: str) -> Record:
        """What is known of a user. Raises `UserError` UNKNOWN_USER."""
        entry.object, entry.arguments = "users", _mark(user)
        found = self._ask(LookUpUser(tenant=self._name, user=user), cancellation)
        if not found["known"]:
            raise unknown_user()
        return found

    @recorded(Action.READ_USERS, "segments explain")
    def explain(self, entry: Entry, cancellation: Cancellation, segment: str, user: str, as_of: str | None) -> Record:
        """Why a user is in a segment or not. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT, UNKNOWN_USER."""
        entry.object, entry.arguments = segment[:100], {**_mark(user), "as_of": as_of}
        found = self._services.segments.get(self._name, segment_name(segment))
        return self._ask(ExplainUser(tenant=self._name, segment=found.name, user=user, as_of=as_of), cancellation)

    @recorded(Action.READ_USERS, "sql")
    def query(self, entry: Entry, cancellation: Cancellation, sql: str, *, rows: int, timeout_s: float) -> Record:
        """The result of one SELECT over `audience(...)` and `rejects(...)`, also of other tenants of the caller.

        Raises as `SqlRunner.run`, `UserError` QUERY_RUNNING, UNKNOWN_TENANT, FORBIDDEN, UNKNOWN_AUDIENCE, UNKNOWN_JOB.
        """
        entry.object, entry.arguments = "queries", {"sql": sql[:SHOWN]}
        with self._services.readers.turns.alone(self._name, cancellation):
            return self._services.sql.run(self._name, sql, self._meaning, cancellation, rows=rows, timeout_s=timeout_s)

    @recorded(Action.READ_USERS, "sql")
    def stream_query(
        self,
        entry: Entry,
        cancellation: Cancellation,
        sql: str,
        put: Callable[[dict[str, Any]], None],
        *,
        timeout_s: float,
    ) -> None:
        """As `query`, but without a limit of rows: `put` gets its columns, then its rows, some at a time."""
        entry.object, entry.arguments = "queries", {"sql": sql[:SHOWN]}
        with self._services.readers.turns.alone(self._name, cancellation):
            self._services.sql.stream(sql, self._meaning, cancellation, put, timeout_s=timeout_s)

    @recorded(Action.READ_USERS, "sql")
    def read_version(self, entry: Entry, call: AudienceCall) -> FindVersionFiles:
        """A version that a query of another tenant names: the trail of this one has it too."""
        entry.object, entry.arguments = call.audience[:63], {"version": call.version}
        return self._version(call)

    @recorded(Action.READ_REJECTS, "sql")
    def read_rejects(self, entry: Entry, job: Job) -> FindRejectsFile:
        """Rejects that a query of another tenant names, as `read_version`."""
        entry.object, entry.job_id = job.audience[:63], job.job_id
        return FindRejectsFile(tenant=self._name, job=job.job_id)

    def _meaning(self, call: Call) -> FindVersionFiles | FindRejectsFile:
        match call:
            case AudienceCall():
                if call.tenant in {None, self._name}:
                    return self._version(call)
                return QuestionsView(self._services, self._caller, str(call.tenant)).read_version(call)
            case RejectsCall():
                job = self._services.jobs.find(call.job)
                try:
                    if job is None:
                        raise unknown_job(call.job)
                    view = QuestionsView(self._services, self._caller, job.tenant)
                except UserError as exc:  # of a tenant without a right: the same as none
                    raise unknown_job(call.job) from exc
                if view.name != self._name:
                    return view.read_rejects(job)
                self.require(Action.READ_REJECTS)
                return FindRejectsFile(tenant=self._name, job=job.job_id)

    def _version(self, call: AudienceCall) -> FindVersionFiles:
        audience = self._services.audiences.get(self._name, call.audience)
        return FindVersionFiles(tenant=self._name, audience=audience.name, version=call.version)

    def _ask(self, question: Question, cancellation: Cancellation) -> dict[str, Any]:
        readers = self._services.readers
        with readers.turns.share(self._caller.principal_id):
            answer: dict[str, Any] = readers.ask(question, cancellation)
        return answer


def unknown_user() -> UserError:
    """There is no such user. The id is not repeated: errors end up in logs."""
    return UserError("UNKNOWN_USER", "the archive has no event and no profile change of this user")


def _mark(user: str) -> dict[str, str]:
    """Enough to find who looked for a user, without keeping the id."""
    return {"user_sha256": hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]}
