"""Questions about a tenant's data: counts, names, users, SQL. Readers answer."""

import hashlib
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from connectors.lake.sql_tree import (
    AudienceCall,
    Call,
    EventsCall,
    ProfilesCall,
    RejectsCall,
    SegmentCall,
    moment_of,
)
from orchestration.access.bodies.questions import (
    LongQuery,
    NewCount,
    NewEditPreview,
    NewForecast,
    NewQuery,
    WantedExplanation,
    WantedUser,
)
from orchestration.access.guard import SHOWN, Entry, ValueT, reads, recorded
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
    FindData,
    FindEvents,
    FindMembers,
    FindProfiles,
    FindRejectsFile,
    FindVersionFiles,
    ForecastSegment,
    ListNames,
    LookUpUser,
    MeasureSegment,
    Question,
)
from orchestration.records.questions import (
    Count,
    Coverage,
    EditPreview,
    Explanation,
    Forecast,
    Names,
    QueryResult,
    User,
)
from schemas.errors import UserError
from schemas.ids import segment_name

OF_RULES: Final = (
    "BAD_RULE",
    "BAD_TIMEZONE",
    "RULE_TOO_BIG",
    "SEGMENT_CYCLE",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_SEGMENT",
)
OF_SQL: Final = (
    "BAD_BODY",
    "BAD_JOB_ID",
    "BAD_NAME",
    "BAD_SQL",
    "NOTHING_PUBLISHED",
    "NO_REJECTS",
    "NO_SUCH_VERSION",
    "QUERY_RUNNING",
    "SANDBOX_INCOMPLETE",
    "SQL_CRASHED",
    "SQL_KILLED",
    "SQL_TIMEOUT",
    "SQL_TOO_BIG",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_JOB",
    "UNKNOWN_SEGMENT",
)
ActivityCall = EventsCall | ProfilesCall | SegmentCall


class Questions(TenantView):
    """What one caller may ask. Every question can be given up from another thread."""

    @recorded(Action.READ, "counts")
    def count(self, entry: Entry, cancellation: Cancellation, body: NewCount) -> Count:
        """How many users a rule matches; see `answers.counts`.

        Exact numbers need the right to read users: a rule can be true of one person alone. Without it they are rounded
        (`access.rounding`), and limited. Raises `UserError` TOO_MANY_COUNTS, SUPERSEDED, TOO_MANY_QUESTIONS, and those
        of the rule; `RetriableError` as `Readers.ask`.
        """
        exact = Action.READ_USERS in self.permitted
        entry.object, entry.arguments = "counts", {"rule": body.rule[:SHOWN], "exact": exact}
        if exact:
            return self._count(body, 0, cancellation)
        rule = rule_of(body.rule, body.timezone).rule
        self._spend(len(questions(rule)))
        return self._rounding().answer(rule, self._count(body, 0, cancellation), self._services.partitions)

    @recorded(Action.READ_USERS, "counts")
    def count_with_users(self, entry: Entry, cancellation: Cancellation, body: NewCount, users: int) -> Count:
        """As `count`, and some of the members: `users` of them at most."""
        entry.object, entry.arguments = "counts", {"rule": body.rule[:SHOWN], "users": users}
        return self._count(body, users, cancellation)

    def _rounding(self) -> Rounding:
        return Rounding(secret=self._services.settings.counts_secret(), tenant=self._name)

    def _spend(self, numbers: int) -> None:
        if wait_s := self._services.count_budget.take(self._caller.principal_id, numbers):
            most = self._services.settings.counts_per_day
            raise UserError(
                "TOO_MANY_COUNTS",
                f"without the right to read users, {most} numbers a day can be counted, and this asks for {numbers}: "
                "for a rule, its groups and its conditions, or for each instant; wait, or ask an administrator for the "
                "role analyst",
                numbers=numbers,
                per_day=most,
                retry_after_s=math.ceil(min(wait_s, DAY_S)),
            )

    def _count(self, body: NewCount, users: int, cancellation: Cancellation) -> Count:
        question = CountUsers(
            tenant=self._name,
            rule=body.rule,
            timezone=body.timezone,
            exact=body.precision == "exact",
            users=users,
            notes=body.notes,
            engine=body.engine,
        )
        if body.editor is None:
            return self._ask(Count, question, cancellation)
        editor = (self._caller.principal_id, self._name, body.editor)
        with self._services.readers.turns.newest(editor, body.revision, cancellation):
            return self._ask(Count, question, cancellation)

    @reads(Action.READ, "GET /names")
    def list_names(self, cancellation: Cancellation) -> Names:
        """Events, properties, attributes, audiences and segments that rules can name."""
        return self._ask(Names, ListNames(tenant=self._name), cancellation)

    @reads(Action.READ, "GET /segments/{segment}/coverage", client="segment_coverage")
    def measure_segment(self, cancellation: Cancellation, segment: str) -> Coverage:
        """How far a segment is behind the topics, and how many members of its audiences its rule does not ask about."""
        found = self._services.segments.get(self._name, segment_name(segment))
        return self._ask(Coverage, MeasureSegment(tenant=self._name, segment=found.name), cancellation)

    @recorded(Action.READ_USERS, "users look up", "POST /user-lookups", problems=("UNKNOWN_USER",), client="user")
    def look_up_user(self, entry: Entry, cancellation: Cancellation, body: WantedUser) -> User:
        """What is known of a user. A POST, since addresses end up in logs."""
        entry.object, entry.arguments = "users", _mark(body.user)
        return self._ask(User, LookUpUser(tenant=self._name, user=body.user), cancellation)

    @recorded(
        Action.READ_USERS,
        "segments preview edit",
        "POST /segments/{segment}/edit-previews",
        problems=OF_RULES,
        client="preview_edit",
    )
    def preview_edit(self, entry: Entry, cancellation: Cancellation, segment: str, body: NewEditPreview) -> EditPreview:
        """Who would enter and leave a segment with another rule, and what depends on it. Nothing changes."""
        entry.object, entry.arguments = f"segments/{segment[:63]}", {"rule": body.text()[:SHOWN], "users": body.users}
        found = self._services.segments.get(self._name, segment_name(segment))
        return self._edit_guard(cancellation).preview(found.name, body, body.users)

    @recorded(
        Action.READ,
        "segments forecast",
        "POST /segments/{segment}/forecasts",
        problems=("RULE_TOO_BIG", "TOO_MANY_COUNTS"),
        client="forecast",
    )
    def forecast_segment(self, entry: Entry, cancellation: Cancellation, segment: str, body: NewForecast) -> Forecast:
        """How many users a segment will have if nothing more is sent: by time alone. Exact with read_users."""
        exact, instants = Action.READ_USERS in self.permitted, tuple(sorted(set(body.in_s)))
        entry.object, entry.arguments = f"segments/{segment[:63]}", {"in_s": instants, "exact": exact}
        name = self._services.segments.get(self._name, segment_name(segment)).name
        question = ForecastSegment(tenant=self._name, segment=name, in_s=instants)
        if exact:
            return self._ask(Forecast, question, cancellation)
        rule = self._services.segments.rules(self._name)[name]
        self._spend(len(instants))
        return self._rounding().forecast(rule, self._ask(Forecast, question, cancellation))

    @recorded(
        Action.READ_USERS,
        "segments explain",
        "POST /segments/{segment}/explanations",
        problems=("RULE_TOO_BIG", "UNKNOWN_USER"),
        client="explain",
    )
    def explain_membership(
        self, entry: Entry, cancellation: Cancellation, segment: str, body: WantedExplanation
    ) -> Explanation:
        """Why a user is in a segment or not: each condition, with the events that it counts."""
        as_of = None if body.as_of is None else body.as_of.isoformat()
        entry.object, entry.arguments = segment[:100], {**_mark(body.user), "as_of": as_of}
        found = self._services.segments.get(self._name, segment_name(segment))
        question = ExplainUser(tenant=self._name, segment=found.name, user=body.user, as_of=as_of)
        return self._ask(Explanation, question, cancellation)

    @recorded(Action.READ_USERS, "sql", "POST /queries", problems=OF_SQL, client="query")
    def run_query(self, entry: Entry, cancellation: Cancellation, body: NewQuery) -> QueryResult:
        """Run one SELECT over audiences, segments, events, profiles and rejects; one at a time of a tenant."""
        entry.object, entry.arguments = "queries", _asked(body)
        with self._services.readers.turns.alone(self._name, cancellation):
            return self._services.sql.run(
                self._name,
                body.sql,
                self._meaning(),
                cancellation,
                parameters=body.parameters,
                rows=body.rows,
                timeout_s=body.timeout_s,
            )

    @recorded(Action.READ_USERS, "sql")
    def stream_query(
        self, entry: Entry, cancellation: Cancellation, body: LongQuery, put: Callable[[dict[str, Any]], None]
    ) -> None:
        """As `run_query`, but without a limit of rows: `put` gets its columns, then its rows, some at a time."""
        entry.object, entry.arguments = "queries", _asked(body)
        with self._services.readers.turns.alone(self._name, cancellation):
            self._services.sql.stream(
                body.sql, self._meaning(), cancellation, put, parameters=body.parameters, timeout_s=body.timeout_s
            )

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

    @recorded(Action.READ_USERS, "sql")
    def read_activity(self, entry: Entry, call: ActivityCall, at: datetime) -> FindData:
        """Events, profiles or a segment that a query of another tenant names, as `read_version`."""
        match call:
            case EventsCall():
                entry.object, entry.arguments = "events", {"event": call.event}
            case ProfilesCall():
                entry.object = "profiles"
            case SegmentCall():
                entry.object = call.segment
        return self._activity(call, at)

    def _meaning(self) -> Callable[[Call], FindData]:
        """What the calls of a query stand for, all at one instant."""
        return partial(self._data, at=datetime.now(UTC))

    def _data(self, call: Call, at: datetime) -> FindData:
        if isinstance(call, RejectsCall):
            return self._rejects(call)
        view = self if call.tenant in {None, self._name} else Questions(self._services, self._caller, str(call.tenant))
        if isinstance(call, AudienceCall):
            return self._version(call) if view is self else view.read_version(call)
        return self._activity(call, at) if view is self else view.read_activity(call, at)

    def _rejects(self, call: RejectsCall) -> FindRejectsFile:
        job = self._services.jobs.find(call.job)
        try:
            if job is None:
                raise unknown_job(call.job)
            view = Questions(self._services, self._caller, job.tenant)
        except UserError as exc:  # of a tenant without a right: the same as none
            raise unknown_job(call.job) from exc
        if view.name != self._name:
            return view.read_rejects(job)
        self.require(Action.READ_REJECTS)
        return FindRejectsFile(tenant=self._name, job=job.job_id)

    def _activity(self, call: ActivityCall, at: datetime) -> FindData:
        match call:
            case EventsCall():
                since, until = (None if one is None else moment_of(one, at) for one in (call.since, call.until))
                return FindEvents(
                    tenant=self._name,
                    event=call.event,
                    since=None if since is None else since.isoformat(),
                    until=None if until is None else until.isoformat(),
                )
            case ProfilesCall():
                return FindProfiles(tenant=self._name)
            case SegmentCall():
                found = self._services.segments.get(self._name, call.segment)
                return FindMembers(tenant=self._name, segment=found.name, at=at.isoformat())

    def _version(self, call: AudienceCall) -> FindVersionFiles:
        audience = self._services.audiences.get(self._name, call.audience)
        return FindVersionFiles(tenant=self._name, audience=audience.name, version=call.version)

    def _ask(self, record: type[ValueT], question: Question, cancellation: Cancellation) -> ValueT:
        with self._services.readers.turns.share(self._caller.principal_id):
            return super()._ask(record, question, cancellation)


def _asked(body: NewQuery | LongQuery) -> dict[str, Any]:
    """The text of a query and the names of its parameters; their values are not kept."""
    return {"sql": body.sql[:SHOWN]} | ({"parameters": sorted(body.parameters)} if body.parameters else {})


def _mark(user: str) -> dict[str, str]:
    """Enough to find who looked for a user, without keeping the id."""
    return {"user_sha256": hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]}
