"""Questions to the readers. Answers are plain JSON data, whose form the functions in `answers` describe."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from orchestration.records.questions import RuleEngine
from schemas.columns import ImportKind
from schemas.dead_letters import DeadLetterState
from schemas.file_lists import SourceForm
from schemas.ids import AudienceName, JobId, TenantName, Version
from schemas.import_formats import ImportFormat

ANSWER_S: Final = 30.0
"""Limit while a client waits: half of the idle time after which load balancers close a connection."""
OPERATION_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The base of all. `limit_s`: how long its answer may take."""

    limit_s: ClassVar[float] = ANSWER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CountUsers(Question):
    """How many users of a tenant a rule matches now, exactly or by a sample; `users`: how many to name.

    `notes`: also operands of a type that no value has, and members of audiences whom the rule does not ask about.
    `engine`: that counts exactly; None for that of the settings.
    """

    tenant: TenantName
    rule: str
    timezone: str | None
    exact: bool
    users: int
    notes: bool
    engine: RuleEngine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNames(Question):
    """Events with their properties, and attributes, that the archive of a tenant has, with their types."""

    tenant: TenantName


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpUser(Question):
    """What is known of a user: attributes, last events, audiences."""

    tenant: TenantName
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainUser(Question):
    """Why a user is in a segment or not. `as_of`: RFC 3339, None for now."""

    tenant: TenantName
    segment: AudienceName
    user: str
    as_of: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewEdit(Question):
    """What another rule would change of a segment, and of those that depend on it. `users`: how many to name."""

    tenant: TenantName
    segment: AudienceName
    rule: str
    timezone: str | None
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSegment(Question):
    """How many users a segment will have if nothing more is sent; `in_s`: seconds from now."""

    tenant: TenantName
    segment: AudienceName
    in_s: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindVersionFiles(Question):
    """The files of a version of an audience, and its columns. `version`: None for the current one."""

    tenant: TenantName
    audience: AudienceName
    version: Version | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRejectsFile(Question):
    """The file with the rejects of a job."""

    tenant: TenantName
    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class FindEvents(Question):
    """The archived events of a tenant, of one name or of all, as SQL over files. `since`, `until`: ISO 8601."""

    tenant: TenantName
    event: str | None
    since: str | None
    until: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindProfiles(Question):
    """The attributes of the users of a tenant, as SQL over files."""

    tenant: TenantName


@dataclass(frozen=True, slots=True, kw_only=True)
class FindMembers(Question):
    """The members of a segment at an instant (ISO 8601) by its rule, as SQL over files."""

    tenant: TenantName
    segment: AudienceName
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRejects(Question):
    """Rejected rows of a job from row `skip` on, of one code or all."""

    tenant: TenantName
    job: JobId
    code: str | None
    skip: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFiles(Question):
    """The files of a job that reads several, from row `skip` of its table on."""

    tenant: TenantName
    job: JobId
    skip: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareVersions(Question):
    """Two versions of an audience; `sample`: how many ids of each kind of change to name.

    After the id `after`, of the kind `change` alone if it is given; `values`: with the values that changed.
    """

    limit_s: ClassVar[float] = OPERATION_S
    tenant: TenantName
    audience: AudienceName
    earlier: Version
    later: Version
    sample: int
    after: str | None = None
    change: Literal["added", "removed", "changed"] | None = None
    values: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSegment(Question):
    """How far a segment is behind the topics, and members of its audiences whom its rule does not cover."""

    tenant: TenantName
    segment: AudienceName


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile(Question):
    """A version of an audience as one Parquet file at `to`, s3://bucket/key. `as_of`: ISO 8601."""

    limit_s: ClassVar[float] = OPERATION_S
    tenant: TenantName
    audience: AudienceName
    version: int | None
    as_of: str | None
    to: str
    overwrite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSegment(Question):
    """Members that the workers have, and members by the rule. `timeout_s`: for workers and archive.

    `engine`: that evaluates the rule; None for that of the settings.
    """

    limit_s: ClassVar[float] = OPERATION_S
    tenant: TenantName
    segment: AudienceName
    timeout_s: float
    engine: RuleEngine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectObject(Question):
    """What a file in the object store has: columns, types, faults."""

    limit_s: ClassVar[float] = OPERATION_S
    tenant: TenantName
    uri: str
    kind: ImportKind
    format: ImportFormat | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TryImport(Question):
    """What the import of a file in the object store would do, and cost. `spec`: changes to the stored spec.

    `form`: whether `uri` is the file, a prefix of several, or a list of them.
    """

    limit_s: ClassVar[float] = OPERATION_S
    tenant: TenantName
    uri: str
    form: SourceForm = "object"
    target: AudienceName
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFeedTopic(Question):
    """Whether a feed can write to a topic, which exists and, if so asked, is compacted."""

    tenant: TenantName
    topic: str
    compacted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDeadLetters(Question):
    """The newest dead letters in these states; none: in any."""

    limit: int
    states: tuple[DeadLetterState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDeadLetter(Question):
    """One dead letter with its key and value."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectDeadLetters(Question):
    """The numbers of dead letters: as `answers.dead_letters.Selection`."""

    limit_s: ClassVar[float] = 45.0
    numbers: tuple[int, ...] | None
    topic: str | None
    code: str | None
    up_to: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayDeadLetters(Question):
    """Send dead letters to their topics again, if their own topic still has the id."""

    limit_s: ClassVar[float] = 45.0
    topic_id: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorkers(Question):
    """The members of the groups of workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLag(Question):
    """How far the groups of workers are behind, by partition."""


def tenant_of(question: Question) -> str:
    """The tenant that asks; empty for the deployment."""
    return str(getattr(question, "tenant", ""))


FindData = FindVersionFiles | FindRejectsFile | FindEvents | FindProfiles | FindMembers
"""Questions about what a query reads; the answer to each is a `connectors.lake.sql.Resolved`."""
QUESTIONS: Final = {one.__name__: one for one in Question.__subclasses__()}
