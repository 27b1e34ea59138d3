"""Findings about an account, and questions to AWS that the credentials may not be allowed to ask."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from schemas.errors import RetriableError

Severity = Literal["ok", "note", "wrong"]
Clients = Callable[[str], Any]
"""Name of a service -> a boto3 client in the deployment's region."""
REFUSED = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"),
        *("KMSAccessDeniedException", "403"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFinding:
    """`where`: a setting, or a part of the account. wrong: the deployment would fail; note: look at it yourself."""

    severity: Severity
    where: str
    what: str
    advice: str = ""


def ok(where: str, what: str) -> AccountFinding:
    """Nothing to do."""
    return AccountFinding(severity="ok", where=where, what=what)


def note(where: str, what: str, advice: str) -> AccountFinding:
    """Something that could not be checked, or that may be meant so."""
    return AccountFinding(severity="note", where=where, what=what, advice=advice)


def wrong(where: str, what: str, advice: str) -> AccountFinding:
    """Something that the deployment cannot work with."""
    return AccountFinding(severity="wrong", where=where, what=what, advice=advice)


class UncheckedError(Exception):
    """A question that the credentials may not ask."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation


class AbsentError(Exception):
    """AWS does not know what was asked for."""


@contextmanager
def asking(*absent: str) -> Iterator[None]:
    """Translate errors of boto3: an error code in `absent` is an `AbsentError`, a refusal an `UncheckedError`.

    Raises `RetriableError` AWS_UNAVAILABLE for all others, also without credentials.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as exc:
        code = str(exc.response["Error"]["Code"])
        if code in absent:
            raise AbsentError(code) from exc
        if code in REFUSED:
            raise UncheckedError(exc.operation_name) from exc
        raise unavailable(exc) from exc
    except BotoCoreError as exc:
        raise unavailable(exc) from exc


def unavailable(exc: Exception) -> RetriableError:
    """The error of a service that does not answer as expected, or of missing credentials."""
    return RetriableError("AWS_UNAVAILABLE", f"cannot read from AWS what is deployed: {exc}")


def checked(where: str, check: Callable[[], Iterator[AccountFinding]]) -> Iterator[AccountFinding]:
    """The findings of a check; what the credentials may not ask becomes a note, and ends the check."""
    try:
        yield from check()
    except UncheckedError as exc:
        yield note(where, f"not checked: these credentials may not call {exc.operation}", "check it by hand")
