# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""The places where moto 5.2.5's interpreter differs from AWS Step Functions, each with a conformance test.

Queries are JSONPath; nothing here evaluates JSONata.

1. API parameters: PascalCase in ASL, camelCase in the API; moto leaves LocalStack's conversion out.
2. `$.a[0].b` is one value, not a list of one.
3. ECS RunTask: some parameters are dropped.
4. `ecs:runTask.sync`: an exit code other than 0 is States.TaskFailed; a timed out or stopped state stops its task.
5. An answer to a task token that arrives before the state waits for it is kept, and so is a heartbeat; a wait ends with
   its execution.
6. SendTaskFailure keeps its cause.
7. The output of an execution is JSON, even if it is a string.
8. An execution that is started without a name gets one of its own; a stopped one is ABORTED at once, with its cause.
9. One client per service: creating one takes 30 ms of CPU and is not thread-safe.
10. Each retry of a state has its own task token; moto's second try waits on the token that the first one has used up,
    and times out at once.
11. States.ALL does not match States.DataLimitExceeded and States.Runtime; States.TaskFailed matches all but a timeout.
12. Names of executions are checked; of two concurrent starts under one name, one is told about the other.
13. A task token takes one answer; a later one is TaskTimedOut.
14. The input of an execution is at most 262,144 bytes of JSON.
15. A state with HeartbeatSeconds and no TimeoutSeconds has no timeout; moto gives it 60 s.
16. Not a difference, but memory: finished executions are forgotten after a while, as AWS does after 90 days.
17. A Choice without match and default is States.NoChoiceMatched.
18. An ECS refusal is ECS.<its error>, or ECS.AmazonECSException for an error that its API does not declare, and
    States.ALL catches it; moto makes it States.Runtime, which nothing catches.
19. A Catch may lead to its own state; moto takes that for the end of the state.
20. A result of 262,144 bytes of JSON in UTF-8 is accepted; moto counts escapes and no quotes, and allows one byte less.
21. A RunTask that returns failures is AmazonECS.Unknown for a state that waits, with them in the cause; a state that
    does not wait gets them as its result. moto takes the first of no tasks: States.Runtime, which nothing catches.
22. Not a difference, but time: a definition is parsed once, not for each execution, and so is a path.
23. The joined results of a Map or Parallel have the same limit, also where ResultPath discards them; moto looks only at
    what is left.
24. An inline Map runs at most 40 items at once, and a Map of any mode has any number of items: moto starts a thread for
    each where MaxConcurrency is not set, and calls itself for each item where it is, until Python's stack ends and the
    Map never does.
25. A child of a Distributed Map that fails fails the Map with States.ExceedToleratedFailureThreshold once more have
    failed than it tolerates, and the other children are stopped; moto gives null as its output.
26. A child is an execution with an id, an input and a history of its own, of a state machine `name/label`; the Map's
    item is not in its context object, and its input has the limit of any input.
27. The map run of an execution that ended early is ABORTED.
28. An ItemReader reads from the stack's object store. One that cannot read is States.ItemReaderFailed; moto makes it
    States.Runtime, which nothing catches. A ResultWriter is States.ResultWriterFailed: there is none.
29. An execution whose event 25,000 is not its end fails with States.Runtime, which nothing catches. Nothing is added to
    a history after its end, and no error replaces it.
"""

import threading
from functools import lru_cache
from typing import Any, Final

from orchestration.local.engine import (
    stepfunctions_errors,
    stepfunctions_executions,
    stepfunctions_history,
    stepfunctions_maps,
    stepfunctions_tasks,
)
from orchestration.local.engine.ecs_tasks import TaskRunner
from orchestration.local.engine.moto_parts import PARSER, SERVICE, module, replace_everywhere
from orchestration.local.ports import LOOPBACK
from orchestration.local.seaweedfs import s3_client
from orchestration.platform.settings import Settings

PATHS_KEPT: Final = 1024


def install(settings: Settings, *, port: int, tasks: TaskRunner) -> None:
    """Apply all patches, before the first request."""
    _clients(settings, port)
    _parameter_case()
    _json_path()
    stepfunctions_tasks.install(tasks)
    stepfunctions_executions.install()
    stepfunctions_errors.install()
    stepfunctions_history.install()
    stepfunctions_maps.install()


def _clients(settings: Settings, port: int) -> None:
    import boto3
    from botocore.config import Config

    clients: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def client_for(region: str, service: str, state_credentials: object = None) -> Any:
        del state_credentials
        with lock:
            if (service, region) not in clients and service == "s3":
                clients[service, region] = s3_client(settings)
            if (service, region) not in clients:
                clients[service, region] = boto3.client(  # type: ignore[call-overload]  # any service that ASL names
                    service,
                    endpoint_url=f"http://{LOOPBACK}:{port}",
                    region_name=region,
                    **settings.engine_keys(),
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

    made_by = module(PARSER + "asl.utils.boto_client")
    module(SERVICE + "_factory")
    replace_everywhere("boto_client_for", made_by.boto_client_for, client_for)


def _parameter_case() -> None:
    import botocore.session

    service = module(SERVICE)
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
    paths = module(PARSER + "asl.utils.json_path")
    old = paths.extract_json
    parse = lru_cache(maxsize=PATHS_KEPT)(paths.parse)  # a third of an execution's time

    def extract_json(path: str, data: Any) -> Any:
        matches = parse(path).find(data)
        if not matches:
            if paths._contains_slice_or_wildcard_array(path):
                return []
            raise paths.NoSuchJsonPathError(json_path=path, data=data)
        many = len(matches) > 1 or any(token in path for token in ("[*]", "..", "[?", ":"))
        return [m.value for m in matches] if many else matches[0].value

    replace_everywhere("extract_json", old, extract_json)
