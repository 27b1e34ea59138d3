"""Building blocks of a table of stages: kinds of stages, retries by class of error, targets of failures.

A table maps names to stages and starts at the first. `asl` renders a stage as one state, a `Step` as four. Strings that
begin with `$` are paths: `$.x` into the data of the execution, `$$.x` into its context.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final, TypeAlias

Values: TypeAlias = Mapping[str, str]
"""Input of a function or an item, by name: a path or a literal."""
EXECUTION: Final = {"execution": "$$.Execution.Id"}
FAILED: Final = {"failure": "$.failure"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempts after the first one, for some errors.

    Before each one it waits between zero (full jitter) and a time that doubles from `interval_s` up to `max_delay_s`.
    """

    errors: tuple[str, ...]
    attempts: int
    interval_s: int = 2
    max_delay_s: int = 60

    def delays_s(self) -> list[int]:
        """The longest wait before each attempt."""
        return [min(self.interval_s * 2**number, self.max_delay_s) for number in range(self.attempts)]


FINAL: Final = Retry(errors=("UserError", "FatalError"), attempts=0)
"""Errors that a retry would not change."""
NO_CAPACITY: Final = Retry(
    errors=("AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ClientException", "ECS.ServerException"),
    attempts=10,
    interval_s=30,
    max_delay_s=5 * 60,
)
"""Up to 30 + 60 + 120 + 240 + 6 x 300 s, 38 minutes: a waiting task costs nothing, and running ones will end."""
OUTAGE: Final = "UnavailableError"
"""Name of a function's `RetriableError` with `outage`, a server that does not answer or has no room."""
UNAVAILABLE: Final = Retry(
    errors=(
        OUTAGE,
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.EC2ThrottledException",
        "Lambda.EC2UnexpectedException",
        "Lambda.ENILimitReachedException",
        "Lambda.ResourceNotReadyException",
        "Lambda.SubnetIPAddressLimitReachedException",
    ),
    attempts=300,
    max_delay_s=8,
)
"""A throttled call, and a server without room or answer, are no failures of the job. Up to 2 + 4 + 298 x 8 seconds, 20
minutes on average: more than 15 whatever the jitter. A waiting state costs nothing and takes no room; as few jobs run
at a time as there is capacity for, they may ask often."""
NO_ROOM_YET: Final = replace(UNAVAILABLE, attempts=45, interval_s=4, max_delay_s=60)
"""For a job that has not begun, of which there may be thousands: it asks seldom, so that those that run find a place.
As long on average."""
FUNCTION: Final = Retry(errors=("States.ALL",), attempts=4)
"""Up to 2 + 4 + 8 + 16 s, half a minute, for what no server reports: a crash, a timeout, a bug."""
TASK: Final = Retry(errors=("States.ALL",), attempts=3)
"""One less than for a function, since each attempt starts a task and repeats the largest amount of work."""
PATIENT: Final = Retry(errors=("States.ALL",), attempts=8)
"""Up to 2 + 4 + ... + 32 + 3 x 60 s, four minutes: for stages where an attempt costs little compared with giving up,
such as an upload that has no job yet, or an import that lacks only its commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """Target of an error that is no longer retried. The data keeps it at `into`; with None it replaces the data."""

    error: str
    next: str
    into: str | None = "$.failure"


SYSTEM_FAILURE: Final = Catch(error="States.ALL", next="MarkSystemFailure")
FAILURE: Final = (Catch(error="UserError", next="ExtractCause"), SYSTEM_FAILURE)
UNREGISTERED: Final = (Catch(error="States.ALL", next="NotifyUnregistered", into=None),)

DISCARDED: Final[Mapping[str, Any]] = {"ResultPath": None}
EMPTY: Final[Mapping[str, Any]] = {"ResultPath": None, "OutputPath": None}
"""The output is `{}`. So end the items of a `Map`, whose result holds every item's output: at most 262,144 bytes."""


@dataclass(frozen=True, slots=True)
class Call:
    """Calls a Lambda function: `function`, or the one named like the stage. `next=None` ends an item of a `Map`."""

    comment: str
    payload: Values
    _: KW_ONLY
    function: str = ""
    result: Mapping[str, Any] | None = None
    """Fields of the state that place the result; by default the result replaces the data."""
    timeout: str = ""
    """Path to the seconds that an attempt may take; without it, the timeout of the function applies."""
    retry: Retry = FUNCTION
    unavailable: Retry = UNAVAILABLE
    catch: tuple[Catch, ...] = ()
    next: str | None = "Route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Call):
    """A call, or a task on Fargate or on a machine started for it if the work is too large for a function.

    The state `where` chooses by `$.place` between `<name>`, `<name>Task` and `<name>Machine`. A task runs
    `task <command>` with the paths in `payload`. It returns only an exit code: `ReadOutcome` reads the rest.
    """

    where: str
    command: str
    large: str
    """What may be too large for a function; a phrase for the comment of the task."""
    role: str = ""
    """Role of the task, instead of the family's."""
    catch: tuple[Catch, ...] = FAILURE
    task_retry: Retry = TASK
    task_next: str | None = "ReadOutcome"


@dataclass(frozen=True, slots=True)
class Await:
    """Hands a task token to a function, then waits for its completion. Errors in `final` are not retried either."""

    comment: str
    payload: Values
    _: KW_ONLY
    function: str
    timeout_s: int
    heartbeat_s: int | None = None
    final: tuple[str, ...]
    catch: tuple[Catch, ...]
    next: str = "Route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Goes to the stage of the first rule whose fields all match the data, else to `default`."""

    comment: str = ""
    rules: tuple[tuple[Mapping[str, str | bool], str], ...]
    default: str


@dataclass(frozen=True, slots=True)
class Map:
    """Runs `stages` for each of the items on the data of `item`. `items` and `max_concurrency` are paths.

    No more than 40 run at once, and their events count in the history of the execution.
    """

    comment: str
    _: KW_ONLY
    items: str
    max_concurrency: str
    item: Values
    stages: "Mapping[str, Stage]"
    catch: tuple[Catch, ...]
    next: str


@dataclass(frozen=True, slots=True)
class SpreadMap:
    """Runs `stages` for each item of a JSON array in S3, each in an execution of its own (a Distributed Map).

    `bucket`, `key` and `max_concurrency` are paths. The items catch their errors: one that fails fails the Map.
    """

    comment: str
    _: KW_ONLY
    bucket: str
    key: str
    max_concurrency: str
    item: Values
    stages: "Mapping[str, Stage]"
    catch: tuple[Catch, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for a fixed time."""

    comment: str
    _: KW_ONLY
    seconds: int
    next: str


@dataclass(frozen=True, slots=True)
class Succeed:
    """Ends the execution as SUCCEEDED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Ends the execution as FAILED."""

    error: str
    cause: str


Stage: TypeAlias = Call | Await | Step | Choice | Map | SpreadMap | Wait | Succeed | Fail


@dataclass(frozen=True, slots=True)
class Machine:
    """One state machine. `timeout_s` is the longest life of an execution."""

    comment: str
    _: KW_ONLY
    timeout_s: int
    stages: Mapping[str, Stage]


def choose_by(field: str, next_stages: Mapping[str, str]) -> tuple[tuple[Mapping[str, str | bool], str], ...]:
    """Rules of a `Choice` that depends on one field."""
    return tuple(({field: value}, stage) for value, stage in next_stages.items())
