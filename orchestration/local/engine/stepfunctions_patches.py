# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""The places where moto 5.2.5's interpreter differs from AWS Step Functions, each with a conformance test.

1. API parameters: PascalCase in ASL, camelCase in the API; moto leaves LocalStack's conversion out.
2. `$.a[0].b` is one value, not a list of one.
3. JSONata: moto has the grammar but no evaluator, and breaks on quotes in variables.
4. ECS RunTask: some parameters are dropped.
5. `ecs:runTask.sync`: an exit code other than 0 is States.TaskFailed; a timed out or stopped state stops its task.
6. An answer to a task token that comes before the state waits for it is kept, and so is a heartbeat; a wait ends with
   its execution.
7. SendTaskFailure keeps its cause.
8. The output of an execution is JSON, also where it is a string.
9. An execution that is started without a name gets one of its own; a stopped one is ABORTED at once, with its cause.
10. One client a service: creating one takes 30 ms of CPU and is not safe in threads.
11. Each retry of a state has a task token of its own; moto's second try waits on the token that the first one has used
    up, and times out at once.
"""

import importlib
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestration.local.engine.ecs_tasks import TaskProcesses
from orchestration.local.ports import LOOPBACK

PARSER: Final = "moto.stepfunctions.parser."
SERVICE: Final = PARSER + "asl.component.state.exec.state_task.service.state_task_service"
POLL_S: Final = 0.1


def install(*, port: int, tasks: TaskProcesses) -> None:
    """Apply all of them, before the first request."""
    _clients(port)
    _parameter_case()
    _json_path()
    _jsonata()
    _ecs(tasks)
    _callbacks()
    _failure_cause()
    _string_output()
    _execution_names()
    _stop_at_once()
    _token_of_each_retry()


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _replace_everywhere(name: str, old: object, new: object) -> None:
    """A function that other modules have imported by name is replaced in each of them."""
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is old:
            setattr(module, name, new)


def _clients(port: int) -> None:
    import boto3
    from botocore.config import Config

    clients: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def client_for(region: str, service: str, state_credentials: object = None) -> Any:
        del state_credentials
        with lock:
            if (service, region) not in clients:
                clients[service, region] = boto3.client(  # type: ignore[call-overload]  # any service that ASL names
                    service,
                    endpoint_url=f"http://{LOOPBACK}:{port}",
                    region_name=region,
                    aws_access_key_id="local",
                    aws_secret_access_key="local",  # noqa: S106 - nobody checks it
                    config=Config(
                        parameter_validation=False,
                        retries={"total_max_attempts": 1},
                        connect_timeout=10,
                        read_timeout=24 * 60 * 60,
                        max_pool_connections=100,
                        inject_host_prefix=False,
                    ),
                )
            return clients[service, region]

    module = _module(PARSER + "asl.utils.boto_client")
    _module(SERVICE + "_factory")
    _replace_everywhere("boto_client_for", module.boto_client_for, client_for)


def _parameter_case() -> None:
    import botocore.session

    service = _module(SERVICE)
    session = botocore.session.get_session()
    models: dict[str, Any] = {}

    def operation(self: Any, service_name: str | None, action: str | None) -> Any:
        name, snake = self._get_boto_service_name(service_name), self._get_boto_service_action(action)
        model = models.setdefault(name, session.get_service_model(name))
        match = next((o for o in model.operation_names if service.camel_to_snake_case(o) == snake), None)
        return model.operation_model(match) if match else None

    def parameters(
        self: Any, parameters: Any, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        found = operation(self, boto_service_name, service_action_name)
        if found and found.input_shape is not None:
            self._to_boto_request(parameters, found.input_shape)

    def response(
        self: Any, response: Any, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        found = operation(self, boto_service_name, service_action_name)
        if found and found.output_shape is not None:
            self._from_boto_response(response, found.output_shape)

    service.StateTaskService._normalise_parameters = parameters
    service.StateTaskService._normalise_response = response


def _json_path() -> None:
    module = _module(PARSER + "asl.utils.json_path")
    old = module.extract_json

    def extract_json(path: str, data: Any) -> Any:
        matches = module.parse(path).find(data)
        if not matches:
            if module._contains_slice_or_wildcard_array(path):
                return []
            raise module.NoSuchJsonPathError(json_path=path, data=data)
        many = len(matches) > 1 or any(token in path for token in ("[*]", "..", "[?", ":"))
        return [m.value for m in matches] if many else matches[0].value

    _replace_everywhere("extract_json", old, extract_json)


def _jsonata() -> None:
    import jsonata

    module = _module(PARSER + "asl.jsonata.jsonata")
    encoding = _module(PARSER + "asl.utils.encoding")
    old = module.encode_jsonata_variable_declarations

    def encode(bindings: Mapping[str, Any]) -> str:
        return "".join(f"{name}:={encoding.to_json_str(value)};" for name, value in bindings.items())

    module._eval_jsonata = lambda expression: jsonata.Jsonata(expression).evaluate(None)
    _replace_everywhere("encode_jsonata_variable_declarations", old, encode)


def _ecs(tasks: TaskProcesses) -> None:
    ecs = _module(SERVICE + "_ecs")
    callback = _module(SERVICE + "_callback")
    ecs._SUPPORTED_API_PARAM_BINDINGS["runtask"] |= {"CapacityProviderStrategy", "Count", "Tags", "ReferenceId"}
    callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = POLL_S
    build = ecs.StateTaskServiceEcs._build_sync_resolver

    def build_resolver(self: Any, env: Any, *args: Any, **options: Any) -> Callable[[], Any]:
        task_arn = env.stack[-1]["Tasks"][0]["TaskArn"]
        look = build(self, env, *args, **options)
        ended = threading.Event()

        def stop_with_state() -> None:
            while env.is_running() and not ended.wait(POLL_S):
                pass
            if not ended.is_set():
                tasks.stop(task_arn)

        threading.Thread(target=stop_with_state, name=f"watch {task_arn}", daemon=True).start()

        def resolve() -> Any:
            task = look()
            if task:
                ended.set()
                if any(c.get("ExitCode") not in (0, None) for c in task.get("Containers", [])):
                    raise _task_failed(env, task)
            return task

        return resolve

    ecs.StateTaskServiceEcs._build_sync_resolver = build_resolver


def _task_failed(env: Any, task: Mapping[str, Any]) -> Exception:
    common = PARSER + "asl.component.common.error_name."
    failure = _module(common + "failure_event")
    error_name = _module(common + "states_error_name")
    error_type = _module(common + "states_error_name_type")
    detail = _module(PARSER + "asl.eval.event.event_detail")
    event = failure.FailureEvent(
        env=env,
        error_name=error_name.StatesErrorName(typ=error_type.StatesErrorNameType.StatesTaskFailed),
        event_type="TaskFailed",
        event_details=detail.EventDetails(
            taskFailedEventDetails={
                "error": "States.TaskFailed",
                "cause": json.dumps(task, default=str),
                "resource": "runTask.sync",
                "resourceType": "ecs",
            }
        ),
    )
    made: Exception = failure.FailureEventException(event)
    return made


def _callbacks() -> None:
    service = _module(SERVICE + "_callback")
    endpoint = _module(PARSER + "asl.eval.callback.callback")

    def wait(self: Any, env: Any, timeout_seconds: float, callback_endpoint: Any, heartbeat_endpoint: Any) -> Any:
        del self
        now = time.monotonic()
        deadline = now + timeout_seconds
        beat_by = now + heartbeat_endpoint._heartbeat_seconds if heartbeat_endpoint else deadline
        while env.is_running():
            if (outcome := callback_endpoint.get_outcome()) is not None:
                return outcome
            now = time.monotonic()
            if heartbeat_endpoint and heartbeat_endpoint._next_heartbeat_event.is_set():
                heartbeat_endpoint._next_heartbeat_event.clear()
                beat_by = now + heartbeat_endpoint._heartbeat_seconds
            if heartbeat_endpoint and now > beat_by:
                return service.HeartbeatTimedOut()
            if now > deadline or (callback_endpoint._notify_event.wait(POLL_S) and not callback_endpoint.get_outcome()):
                break
        return service.CallbackOutcomeTimedOut(callback_id=callback_endpoint.callback_id)

    def notify_heartbeat(self: Any) -> bool:
        if self._heartbeat_endpoint:
            self._heartbeat_endpoint.notify()
        return True

    service.StateTaskServiceCallback._eval_wait_for_task_token = wait
    endpoint.CallbackEndpoint.notify_heartbeat = notify_heartbeat


def _token_of_each_retry() -> None:
    callback = _module(SERVICE + "_callback")
    service = callback.StateTaskServiceCallback
    evaluate = service._evaluate_with_timeout

    def evaluate_with_token(self: Any, env: Any) -> None:
        context = env.states.context_object
        if "Task" in context.context_object_data and context.context_object_data["State"]["RetryCount"] > 0:
            env.callback_pool_manager.add(context.update_task_token())
        evaluate(self, env)

    service._evaluate_with_timeout = evaluate_with_token


def _failure_cause() -> None:
    responses = _module("moto.stepfunctions.responses")

    def send_task_failure(self: Any) -> Any:
        self.stepfunction_backend.send_task_failure(
            self._get_param("taskToken"), error=self._get_param("error"), cause=self._get_param("cause")
        )
        return responses.EmptyResult()

    responses.StepFunctionResponse.send_task_failure = send_task_failure


def _string_output() -> None:
    status = _module(PARSER + "api").ExecutionStatus
    execution = _module(PARSER + "backend.execution")
    reflect = execution.BaseExecutionWorkerCommunication._reflect_execution_status

    def reflect_as_json(self: Any) -> None:
        if self.execution.exec_status == status.ABORTED:
            return  # what the states say while they are torn down does not count
        reflect(self)
        if isinstance(self.execution.output, str):
            self.execution.output = json.dumps(self.execution.output)

    execution.BaseExecutionWorkerCommunication._reflect_execution_status = reflect_as_json


def _execution_names() -> None:
    backend = _module(PARSER + "models").StepFunctionsParserBackend
    start = backend.start_execution

    def start_execution(self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **more: Any) -> Any:
        return start(self, state_machine_arn, name or str(uuid.uuid4()), *args, **more)

    backend.start_execution = start_execution


def _stop_at_once() -> None:
    status = _module(PARSER + "api").ExecutionStatus
    execution = _module(PARSER + "backend.execution").Execution
    responses = _module("moto.stepfunctions.responses")
    stop = execution.stop

    def stop_and_say(self: Any, stop_date: Any, error: str | None, cause: str | None) -> None:
        if self.exec_status != status.RUNNING:
            return
        stop(self, stop_date, error, cause)
        # The thread may still wait for a function; AWS does not wait for it either.
        self.exec_status, self.stop_date = status.ABORTED, stop_date

    def stop_execution(self: Any) -> Any:
        arn = self._get_param("executionArn")
        running = self.stepfunction_backend.describe_execution(arn).exec_status == status.RUNNING
        stopped = self.stepfunction_backend.stop_execution(arn)
        if running:
            stopped.error, stopped.cause = self._get_param("error"), self._get_param("cause")
        return responses.ActionResult({"stopDate": stopped.stop_date})

    execution.stop = stop_and_say
    responses.StepFunctionResponse.stop_execution = stop_execution
