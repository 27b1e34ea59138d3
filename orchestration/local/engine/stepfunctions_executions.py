# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""Where moto's executions differ from AWS: 7, 8, 12, 14, 16 and 22 of `stepfunctions_patches`."""

import json
import pickle
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from orchestration.local.engine.moto_parts import PARSER, module
from orchestration.local.engine.stepfunctions_errors import DATA_MAX_BYTES

FINISHED_KEPT: Final = 500
"""Finished executions of a state machine that are kept. Older ones are reported as nonexistent, which the control plane
treats like ended: a job that is still alive gets a new execution."""
DEFINITIONS_KEPT: Final = 8
NAME_MAX: Final = 80
NOT_IN_A_NAME: Final = frozenset(' \t\n\r<>{}[]?*"#%\\^|~`$&,;:/')
"""StartExecution refuses control characters as well."""


def install() -> None:
    """Apply the patches."""
    _string_output()
    _starts()
    _stop_at_once()
    parse_once()


def parse_once() -> None:
    """Cache ANTLR's parse of a definition: ours take 0.2 s, during which no other execution makes progress.

    The program built from it belongs to one execution: it is unpickled for each, a state when it begins, since most of
    the states of a large definition never do.
    """
    parsing = module(PARSER + "asl.parse.asl_parser")
    parse = parsing.AmazonStateLanguageParser.parse

    @lru_cache(maxsize=DEFINITIONS_KEPT)
    def program_of(definition: str) -> tuple[bytes, Mapping[str, bytes], Any]:
        tree = parse(definition)[1]
        program = parsing.Preprocessor().visit(tree)
        states, program.states.states = program.states.states, {}
        return pickle.dumps(program), {name: pickle.dumps(state) for name, state in states.items()}, tree

    def parsed(definition: str) -> tuple[Any, Any]:
        pickled, states, tree = program_of(definition)
        program = pickle.loads(pickled)  # noqa: S301  # made above
        program.states.states = _States(states)
        return program, tree

    parsing.AmazonStateLanguageParser.parse = staticmethod(parsed)


class _States(dict[str, Any]):
    """The states of a program, each unpickled when it is first asked for."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, bytes):
            found = self[name] = pickle.loads(found)  # noqa: S301  # made by `parse_once`
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """The state of that name."""
        return self[name] if name in self else default  # noqa: SIM401  # this is `get`


def _string_output() -> None:
    status = module(PARSER + "api").ExecutionStatus
    ended = module(PARSER + "asl.eval.program_state").ProgramEnded
    execution = module(PARSER + "backend.execution")
    reflect = execution.BaseExecutionWorkerCommunication._reflect_execution_status

    def reflect_as_json(self: Any) -> None:
        if self.execution.exec_status == status.ABORTED:
            return  # ignore what the states report while they are torn down
        env = self.execution.exec_worker.env
        if not isinstance(env.program_state(), ended):
            reflect(self)
            return
        output = env.states.get_input()
        # The status comes last: a request may read between two of these lines.
        self.execution.output = json.dumps(output) if isinstance(output, str) else output
        self.execution.stop_date = datetime.now(tz=UTC)
        self.execution.exec_status = status.SUCCEEDED

    execution.BaseExecutionWorkerCommunication._reflect_execution_status = reflect_as_json


def _starts() -> None:
    models = module(PARSER + "models")
    errors = module("moto.stepfunctions.exceptions")
    backend = models.StepFunctionsParserBackend
    start = backend.start_execution
    lock = threading.Lock()

    def start_execution(
        self: Any, state_machine_arn: str, name: str | None = None, execution_input: str | None = None, *more: Any
    ) -> Any:
        if name is not None and not valid_name(name):
            raise errors.InvalidName(f"Invalid Name: '{name}'")
        if execution_input is not None and len(execution_input.encode()) > DATA_MAX_BYTES:
            raise errors.InvalidExecutionInput(f"the input is larger than {DATA_MAX_BYTES} bytes")
        try:
            json.loads(execution_input or "{}")
        except ValueError as exc:
            raise errors.InvalidExecutionInput(f"Invalid State Machine Execution Input: '{exc}'") from exc
        with lock:  # if two starts under one name race, the second one must find the first
            execution = start(self, state_machine_arn, name or str(uuid.uuid4()), execution_input or "{}", *more)
            prune(self.describe_state_machine(state_machine_arn).executions)
        return execution

    backend.start_execution = start_execution


def valid_name(name: str) -> bool:
    """Whether StartExecution accepts this name for an execution."""
    return 1 <= len(name) <= NAME_MAX and not any(
        c in NOT_IN_A_NAME or ord(c) < 32 or 127 <= ord(c) < 160 for c in name
    )


def prune(executions: list[Any], kept: int = FINISHED_KEPT) -> None:
    """Forget the finished executions except the last `kept`, and moto's list of ended threads."""
    finished = [execution for execution in executions if execution.status != "RUNNING"]
    for execution in finished[: len(finished) - kept] if len(finished) > kept else []:
        executions.remove(execution)
    threads = module(PARSER + "utils").TMP_THREADS
    for thread in [t for t in list(threads) if t.ident is not None and not t.is_alive()]:
        threads.remove(thread)


def _stop_at_once() -> None:
    status = module(PARSER + "api").ExecutionStatus
    execution = module(PARSER + "backend.execution").Execution
    responses = module("moto.stepfunctions.responses")
    stop = execution.stop

    def stop_and_report(self: Any, stop_date: Any, error: str | None, cause: str | None) -> None:
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

    execution.stop = stop_and_report
    responses.StepFunctionResponse.stop_execution = stop_execution
