"""Notify, for an execution that could not register a job."""

from collections.abc import Mapping
from typing import Any

from orchestration.kinds.failures import error_of
from orchestration.notifications.notices import Notices
from orchestration.platform.clock import now_ms


def notify_unregistered(notices: Notices, event: object, failure: Mapping[str, Any], execution: str) -> None:
    """Notify the operators that an execution could not register a job. `failure` says why.

    `event`: the input of the execution, of any form; it may name the object.
    """
    cause = error_of(failure)
    error = {"kind": cause.kind, "code": cause.code, "message": cause.message}
    rows = notices.write_for_unregistered(event, execution, error, now_ms())
    notices.courier().deliver_at_once(rows)
