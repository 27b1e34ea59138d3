# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""Where moto's task states differ from AWS: 4, 5, 6, 10, 13, 18 and 21 of `stepfunctions_patches`."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Set
from functools import cache, partial
from typing import Any, Final

import botocore.session
from botocore.exceptions import ClientError

from orchestration.local.engine.ecs_tasks import TaskRunner
from orchestration.local.engine.moto_parts import PARSER, SERVICE, module

POLL_S: Final = 0.1
LOOK_S: Final = 0.5
"""Between two checks of a waiting state whether its execution was stopped; an answer wakes it at once. In a burst,
hundreds of states wait."""
ERRORS: Final = PARSER + "asl.component.common.error_name."
NOT_PLACED: Final = "AmazonECS.Unknown"
"""Step Functions, "Run Amazon ECS or Fargate tasks": the error of a RunTask whose answer has `Failures`."""


class NotPlacedError(Exception):
    """ECS returned failures, in `answer`."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(json.dumps(answer, default=str))
        self.answer = answer


def install(tasks: TaskRunner) -> None:
    """Apply the patches."""
    _ecs(tasks)
    _ecs_failures()
    _callbacks()
    _failure_cause()
    _fresh_token_per_retry()
    _single_answer()


def _ecs(tasks: TaskRunner) -> None:
    ecs = module(SERVICE + "_ecs")
    callback = module(SERVICE + "_callback")
    ecs._SUPPORTED_API_PARAM_BINDINGS["runtask"] |= {"CapacityProviderStrategy", "Count", "Tags", "ReferenceId"}
    callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = POLL_S
    build = ecs.StateTaskServiceEcs._build_sync_resolver

    def build_resolver(self: Any, env: Any, *args: Any, **options: Any) -> Callable[[], Any]:
        task_arn = env.stack[-1]["Tasks"][0]["TaskArn"]
        resolver = build(self, env, *args, **options)
        ended = threading.Event()

        def stop_with_state() -> None:
            while env.is_running() and not ended.wait(POLL_S):
                pass
            if not ended.is_set():
                tasks.stop(task_arn)

        threading.Thread(target=stop_with_state, name=f"watch {task_arn}", daemon=True).start()

        def resolve() -> Any:
            task = resolver()
            if task:
                ended.set()
                if not _succeeded(task):
                    raise _task_failed(env, task)
            return task

        return resolve

    from_error = ecs.StateTaskServiceEcs._from_error

    def from_ecs_error(self: Any, env: Any, ex: Exception) -> Any:
        if isinstance(ex, NotPlacedError):
            return _failure_event(env, module(ERRORS + "custom_error_name").CustomErrorName(NOT_PLACED), str(ex))
        return _refused(env, ex) if isinstance(ex, ClientError) else from_error(self, env, ex)

    ecs.StateTaskServiceEcs._build_sync_resolver = build_resolver
    ecs.StateTaskServiceEcs._from_error = from_ecs_error


def _ecs_failures() -> None:
    service = module(SERVICE + "_ecs").StateTaskServiceEcs
    normalise, evaluate = service._normalise_response, service._eval_service_task

    def normalise_placed(self: Any, response: Any, *args: Any, **options: Any) -> None:
        normalise(self, response, *args, **options)
        if options.get("service_action_name") == "run_task" and response["Failures"]:
            raise NotPlacedError(response)

    def evaluate_placed(self: Any, env: Any, *args: Any, **options: Any) -> None:
        try:
            evaluate(self, env, *args, **options)
        except NotPlacedError as exc:
            if self.resource.condition is not None:  # .sync or .waitForTaskToken
                raise
            env.stack.append(exc.answer)

    service._normalise_response, service._eval_service_task = normalise_placed, evaluate_placed


def _succeeded(task: Mapping[str, Any]) -> bool:
    """Every container counts, even a non-essential one that was stopped with the others, as at AWS."""
    codes = [container.get("ExitCode") for container in task.get("Containers", [])]
    return task.get("StopCode") != "TaskFailedToStart" and all(code in (0, None) for code in codes)


def _task_failed(env: Any, task: Mapping[str, Any]) -> Exception:
    error_name = module(ERRORS + "states_error_name").StatesErrorName
    error_type = module(ERRORS + "states_error_name_type").StatesErrorNameType.StatesTaskFailed
    event = _failure_event(env, error_name(typ=error_type), json.dumps(task, default=str))
    failure: Exception = module(ERRORS + "failure_event").FailureEventException(event)
    return failure


@cache
def _known_errors() -> Set[str]:
    """The errors that the API of ECS declares for RunTask."""
    model = botocore.session.get_session().get_service_model("ecs").operation_model("RunTask")
    return frozenset(shape.name for shape in model.error_shapes)


def refusal(code: str) -> str:
    """The Step Functions name for an error code of RunTask.

    An error that the API does not declare, such as ThrottlingException, is the base class of the SDK: AWS Knowledge
    Center, "ECS RunTask API for a Fargate task fails with Capacity is unavailable".
    """
    return f"ECS.{code}" if code in _known_errors() else "ECS.AmazonECSException"


def _refused(env: Any, exc: ClientError) -> Any:
    code, status = exc.response["Error"]["Code"], exc.response["ResponseMetadata"]["HTTPStatusCode"]
    cause = (
        f"{exc.response['Error']['Message']} (Service: AmazonECS; Status Code: {status}; Error Code: {code}; "
        f"Request ID: {exc.response['ResponseMetadata'].get('RequestId')}; Proxy: null)"
    )
    return _failure_event(env, module(ERRORS + "custom_error_name").CustomErrorName(refusal(code)), cause)


def _failure_event(env: Any, error_name: Any, cause: str) -> Any:
    details = {
        "error": error_name.error_name,
        "cause": cause,
        "resource": "runTask.sync",
        "resourceType": "ecs",
    }
    return module(ERRORS + "failure_event").FailureEvent(
        env=env,
        error_name=error_name,
        event_type="TaskFailed",
        event_details=module(PARSER + "asl.eval.event.event_detail").EventDetails(taskFailedEventDetails=details),
    )


def _callbacks() -> None:
    service = module(SERVICE + "_callback")
    endpoint = module(PARSER + "asl.eval.callback.callback")

    def wait(self: Any, env: Any, timeout_seconds: float, callback_endpoint: Any, heartbeat_endpoint: Any) -> Any:
        del self
        now = time.monotonic()
        deadline = now + timeout_seconds
        beat_by = now + heartbeat_endpoint._heartbeat_seconds if heartbeat_endpoint else deadline
        while env.is_running():
            if (outcome := callback_endpoint.get_outcome()) is not None:
                return outcome
            if heartbeat_endpoint and heartbeat_endpoint._next_heartbeat_event.is_set():
                heartbeat_endpoint._next_heartbeat_event.clear()
                beat_by = heartbeat_endpoint.beat_s + heartbeat_endpoint._heartbeat_seconds
            now = time.monotonic()
            if heartbeat_endpoint and now > beat_by:
                callback_endpoint.report(endpoint.CallbackConsumerTimeout())
                return service.HeartbeatTimedOut()
            wait_s = min(LOOK_S, max(0.0, min(deadline, beat_by) - now) + 0.001)
            if now > deadline or (callback_endpoint._notify_event.wait(wait_s) and not callback_endpoint.get_outcome()):
                break
        callback_endpoint.report(endpoint.CallbackConsumerTimeout())
        return service.CallbackOutcomeTimedOut(callback_id=callback_endpoint.callback_id)

    def notify_heartbeat(self: Any) -> bool:
        if self._heartbeat_endpoint:
            self._heartbeat_endpoint.beat_s = time.monotonic()
            self._heartbeat_endpoint.notify()
        return True

    service.StateTaskServiceCallback._eval_wait_for_task_token = wait
    endpoint.CallbackEndpoint.notify_heartbeat = notify_heartbeat


def _fresh_token_per_retry() -> None:
    callback = module(SERVICE + "_callback")
    service = callback.StateTaskServiceCallback
    evaluate = service._evaluate_with_timeout

    def evaluate_with_token(self: Any, env: Any) -> None:
        context = env.states.context_object
        if "Task" in context.context_object_data and context.context_object_data["State"]["RetryCount"] > 0:
            env.callback_pool_manager.add(context.update_task_token())
        evaluate(self, env)

    service._evaluate_with_timeout = evaluate_with_token


def _failure_cause() -> None:
    responses = module("moto.stepfunctions.responses")

    def send_task_failure(self: Any) -> Any:
        self.stepfunction_backend.send_task_failure(
            self._get_param("taskToken"), error=self._get_param("error"), cause=self._get_param("cause")
        )
        return responses.EmptyResult()

    responses.StepFunctionResponse.send_task_failure = send_task_failure


def _task_timed_out() -> Any:
    error: Any = module("moto.core.exceptions").AWSError
    return type("TaskTimedOut", (error,), {"TYPE": "TaskTimedOut", "STATUS": 400})


def _single_answer() -> None:
    callback = module(PARSER + "asl.eval.callback.callback")
    pool = callback.CallbackPoolManager
    notify, heartbeat = pool.notify, pool.heartbeat
    # moto treats a closed wait like one that never existed, and its server does not know that exception: 500.
    models = module(PARSER + "models")
    models.TaskDoesNotExist = models.TaskTimedOut = partial(
        _task_timed_out(), "Task Timed Out: 'Provided task does not exist anymore'"
    )
    lock = threading.Lock()

    def refuse_if_closed(self: Any, token: str) -> None:
        endpoint = self.get(token)
        if endpoint is not None and endpoint.get_outcome() is not None:
            raise callback.CallbackNotifyConsumerError(callback.CallbackConsumerTimeout())

    def notify_once(self: Any, callback_id: str, outcome: Any) -> Any:
        with lock:
            refuse_if_closed(self, callback_id)
            return notify(self, callback_id=callback_id, outcome=outcome)

    def heartbeat_while_open(self: Any, callback_id: str) -> Any:
        refuse_if_closed(self, callback_id)
        return heartbeat(self, callback_id=callback_id)

    pool.notify, pool.heartbeat = notify_once, heartbeat_while_open
