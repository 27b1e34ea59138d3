"""Exit codes: what a script learns without reading a word. docs/cli.md repeats the table, and a test compares them."""

from enum import IntEnum

from muster.records import Record
from schemas.errors import MusterError, UserError


class ExitCode(IntEnum):
    """How a command ended. `meaning` is the text in the documentation."""

    OK = 0
    SYSTEM_ERROR = 1
    USAGE = 2
    USER_ERROR = 3
    SUPERSEDED = 4
    CANCELLED = 5
    NOT_FINISHED = 6
    CHECK_FAILED = 7
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """The meaning of the code, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done; with `--wait` or `jobs wait`: the job is READY",
    ExitCode.SYSTEM_ERROR: "an outage or a bug in Muster; with `--wait`: the job FAILED with a system error",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.USER_ERROR: "the file or the request is at fault; with `--wait`: the job FAILED with a user error",
    ExitCode.SUPERSEDED: "the job was SUPERSEDED: a newer import of the audience was published first",
    ExitCode.CANCELLED: "the job was CANCELLED",
    ExitCode.NOT_FINISHED: "`--timeout` was reached; the job continues",
    ExitCode.CHECK_FAILED: (
        "`status`, `doctor`, `fsck`, `verify`, `segments check` or `deploy check` found something wrong"
    ),
    ExitCode.INTERRUPTED: "Ctrl-C; a submitted job continues",
}


def code_for_error(error: MusterError) -> ExitCode:
    """The exit code of an error, by its class."""
    return ExitCode.USER_ERROR if isinstance(error, UserError) else ExitCode.SYSTEM_ERROR


def code_for_job(job: Record) -> ExitCode:
    """The exit code of a job or an export: NOT_FINISHED while it runs."""
    match job["state"]:
        case "READY":
            return ExitCode.OK
        case "SUPERSEDED":
            return ExitCode.SUPERSEDED
        case "CANCELLED":
            return ExitCode.CANCELLED
        case "FAILED":
            user = job["error"] is not None and job["error"]["kind"] == "user"
            return ExitCode.USER_ERROR if user else ExitCode.SYSTEM_ERROR
        case _:
            return ExitCode.NOT_FINISHED
