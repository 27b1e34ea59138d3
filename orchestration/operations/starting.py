"""Starting an execution of a state machine under a job's id or a name of its own, so that repeating it is harmless."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from schemas.errors import FatalError, RetriableError
from schemas.ids import JobId

if TYPE_CHECKING:
    from orchestration.context import Context


def start_machine(context: "Context", machine: str, job_id: JobId | str, event: Mapping[str, object]) -> None:
    """Start a job. Raises `RetriableError` ENGINE_UNAVAILABLE, `FatalError` ENGINE_REFUSED."""
    try:
        context.workflow.start_execution(
            stateMachineArn=context.machine_arn(machine), name=job_id, input=json.dumps(event)
        )
    except ClientError as exc:
        code = str(exc.response["Error"]["Code"])
        if code == "ExecutionAlreadyExists":  # an earlier try of this very call got through
            return
        raise FatalError(
            "ENGINE_REFUSED", f"Step Functions refuses to start the job: {code}", engine_code=code
        ) from exc
    except BotoCoreError as exc:
        raise RetriableError(
            "ENGINE_UNAVAILABLE", f"Step Functions cannot be reached: {type(exc).__name__}", job=job_id
        ) from exc
