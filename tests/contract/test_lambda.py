"""What a Lambda function may rely on, for our local runtime and for awslambdaric under AWS's emulator alike."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from orchestration.local.engine.lambda_processes import FunctionProcess, FunctionProcesses
from orchestration.local.engine.lambda_runtime import LambdaCall, LambdaPool
from orchestration.local.engine.server import FUNCTIONS_WARM
from orchestration.workflow.resources import function_specs
from orchestration.workflow.timers import TIMERS
from tests.conftest import stack_environment
from tests.contract.lambda_runners import NAME, EmulatorRunner, LocalRunner, Runner, function_processes

HANDLERS = "tests.contract.lambda_handlers"
Run = Callable[..., Runner]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return stack_environment({"COLOUR": "blue"})


@pytest.fixture(scope="module")
def functions(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionProcesses]:
    """The source of processes for the local runtime."""
    with function_processes(HANDLERS, environment, tmp_path_factory.mktemp("functions")) as made:
        yield made


@pytest.fixture(scope="module")
def real_functions(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FunctionProcesses]:
    """Function processes as a stack's engine has them."""
    with function_processes(FUNCTIONS_WARM, environment, tmp_path_factory.mktemp("real")) as made:
        yield made


@pytest.fixture(params=["local", "emulator"])
def run(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """`run("echo", timeout_s=5, memory_mb=256)` makes a function from a handler; all are stopped after the test."""
    with ExitStack() as stack:

        def start(name: str, *, timeout_s: int = 20, memory_mb: int = 256, real: bool = False) -> Runner:
            handler = name if "." in name else f"{HANDLERS}.{name}"
            runner: LocalRunner | EmulatorRunner
            if request.param == "local":
                functions = request.getfixturevalue("real_functions" if real else "functions")
                runner = LocalRunner(functions, handler, timeout_s=timeout_s, memory_mb=memory_mb)
            else:
                limits = {"timeout_s": timeout_s, "memory_mb": memory_mb}
                runner = EmulatorRunner(handler, **limits, folder=tmp_path, env=environment)
            stack.enter_context(runner)
            return runner

        yield start


@pytest.mark.parametrize("event", [{"a": ["é", None, 1.5, True]}, {}, [], "text", 0, None], ids=str)
def test_json_round_trips_through_a_function(run: Run, event: object) -> None:
    answer = run("echo").invoke(event)

    assert answer.error is None
    assert answer.result == event


def test_exception_is_reported_with_class_message_and_location(run: Run) -> None:
    error = run("refuse").invoke({}).error

    assert error is not None
    assert error.keys() == {"errorType", "errorMessage", "requestId", "stackTrace"}
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "the file has no rows: é")
    assert len(error["requestId"]) == 36
    assert [("lambda_handlers.py" in line, "in refuse" in line) for line in error["stackTrace"]] == [(True, True)]


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("leave", "Runtime.ExitError", "Error: Runtime exited with error: exit status 7"),
        ("kill_itself", "Runtime.ExitError", "Error: Runtime exited with error: signal: killed"),
        (
            "return_unserialisable",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type object is not JSON serializable",
        ),
        ("no_such_function", "Runtime.HandlerNotFound", f"Handler 'no_such_function' missing on module '{HANDLERS}'"),
        (
            "tests.no_such_module.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'tests.no_such_module': No module named 'tests.no_such_module'",
        ),
    ],
)
def test_failures_have_the_name_and_message_of_aws(run: Run, handler: str, error_type: str, message: str) -> None:
    error = run(handler).invoke({}).error

    assert error is not None
    assert (error["errorType"], error["errorMessage"][-len(message) :]) == (error_type, message)


def test_an_answer_over_six_megabytes_is_refused(run: Run) -> None:
    function = run("return_too_much", memory_mb=512)

    assert function.invoke({"characters": 6 * 1024 * 1024}).error is None
    error = function.invoke({"characters": 6 * 1024 * 1024 + 200}).error

    assert error == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


def test_function_beyond_its_timeout_is_killed_and_the_next_call_works(run: Run) -> None:
    function = run("sleep", timeout_s=8)

    error = function.invoke({"seconds": 600}).error
    after = function.invoke({"seconds": 0})

    assert error is not None
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 8.00 seconds")
    assert after.result == "slept"


def test_function_beyond_its_memory_is_killed_and_the_next_call_works(run: Run, tmp_path: Path) -> None:
    function = run("take_memory", memory_mb=256)
    event = {"seconds": 15, "started": str(tmp_path / "started")}

    error = function.invoke({**event, "megabytes": 400}).error
    after = function.invoke({**event, "megabytes": 10, "seconds": 0.3})

    assert error is not None
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert after.result == 10 << 20


def test_reserved_memory_does_not_count(run: Run) -> None:
    assert run("reserve_address_space", memory_mb=256).invoke({"megabytes": 4096, "seconds": 0.5}).result == 4096 << 20


def test_killed_function_does_not_disturb_another(run: Run, tmp_path: Path) -> None:
    patient, greedy = run("sleep"), run("take_memory", memory_mb=256)

    with ThreadPoolExecutor(2) as pool:
        slept = pool.submit(patient.invoke, {"seconds": 3})
        killed = pool.submit(greedy.invoke, {"megabytes": 400, "seconds": 15, "started": str(tmp_path / "started")})

        assert (killed.result().error or {})["errorType"] == "Runtime.ExitError"
        assert slept.result().result == "slept"


def test_concurrent_calls_are_answered_under_their_own_ids(run: Run) -> None:
    function = run("describe")
    together = threading.Barrier(3)

    def call() -> str:
        together.wait()
        return str(function.invoke({"names": []}).result["request_id"])

    with ThreadPoolExecutor(3) as pool:
        calls = [future.result() for future in [pool.submit(call) for _ in range(3)]]

    assert len(set(calls)) == 3


def test_process_stays_warm_and_each_call_has_its_own_id(run: Run) -> None:
    function = run("describe")

    first, second = (function.invoke({"names": []}).result for _ in range(2))

    assert first["process"] == second["process"]
    assert first["request_id"] != second["request_id"]


def test_two_sizes_keep_their_processes_and_a_third_ends_the_oldest(functions: FunctionProcesses) -> None:
    pool = LambdaPool(functions, calls=1)

    def process(memory_mb: int) -> object:
        call = LambdaCall(
            function_name="Describe",
            function_arn="arn",
            handler=f"{HANDLERS}.describe",
            timeout_s=20,
            memory_mb=memory_mb,
            event={"names": []},
        )
        return json.loads(pool.invoke(call).payload)["process"]

    small, large = process(256), process(512)
    assert [process(256), process(512)] == [small, large]

    process(1024)
    assert process(512) == large
    assert process(256) != small
    pool.end()


def test_process_that_rests_ends_and_a_fresh_one_stays(
    functions: FunctionProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make, handler = [], functions.make, f"{HANDLERS}.describe"

    def counted() -> FunctionProcess:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(functions, "make", counted)
    with LocalRunner(functions, handler, timeout_s=20, memory_mb=256) as function:
        pool = function.pool

        def process() -> object:
            return function.invoke({"names": []}).result["process"]

        pool.warm([(handler, 256), (handler, 512)])
        first = process()
        pool.end(rested_s=3600)
        assert process() == first
        time.sleep(0.01)  # longer than the rest that is asked for
        pool.end(rested_s=0.001)

        assert process() != first
        assert [one.alive for one in made] == [False, True, True]


def test_the_context_names_the_function_and_counts_down_to_its_timeout(run: Run) -> None:
    found = run("describe", timeout_s=60, memory_mb=256).invoke({"names": []}).result

    assert found["function"] == NAME
    assert found["arn"] == f"arn:aws:lambda:us-east-1:012345678912:function:{NAME}"
    assert (found["version"], found["memory"]) == ("$LATEST", "256")
    assert 30_000 < found["remaining_ms"] <= 60_000


def test_function_sees_lambda_variables_and_its_own(run: Run) -> None:
    names = ["COLOUR", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"]

    assert run("describe", memory_mb=256).invoke({"names": names}).result["environment"] == {
        "COLOUR": "blue",
        "AWS_LAMBDA_FUNCTION_NAME": NAME,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    }


BY_TIME = {timer.function for timer in TIMERS}


@pytest.mark.parametrize("memory_mb", sorted({function.memory_mb for function in function_specs()}))
def test_product_handlers_load_within_their_memory_and_answer(run: Run, memory_mb: int) -> None:
    """All in one process, as locally, which is the tightest case for memory."""
    functions = [function for function in function_specs() if function.memory_mb == memory_mb]
    timeout_s = max(function.timeout_s for function in functions)
    process = run("call_another", timeout_s=timeout_s, memory_mb=memory_mb, real=True)

    for function in functions:
        error = process.invoke({"handler": function.handler}).error

        if function.name in BY_TIME:  # they need no input
            assert error is None
            continue
        assert error is not None
        assert error["errorType"] == "KeyError"
        assert function.handler.rsplit(".", 2)[0].replace(".", "/") in error["stackTrace"][-1]

    assert process.invoke({}).result < memory_mb


def test_product_handler_has_equal_results_on_both(run: Run) -> None:
    record = {"kind": "user", "code": "EMPTY_FILE", "message": "no rows", "detail": {"rows": 0}}
    cause = json.dumps({"errorType": "UserError", "errorMessage": json.dumps(record)})

    answer = run("orchestration.entrypoints.handlers.extract_cause", memory_mb=512, real=True).invoke(
        {"job_id": "j", "failure": {"Error": "UserError", "Cause": cause}}
    )

    assert answer.result == {"job_id": "j", "error": record}


def test_children_count_and_die_with_the_local_function(functions: FunctionProcesses) -> None:
    """Only locally: the emulator limits no memory, and in the tests above the test does that in its place."""
    handler = f"{HANDLERS}.take_memory"
    with LocalRunner(functions, handler, timeout_s=30, memory_mb=256) as function:
        error = function.invoke({"megabytes": 403, "seconds": 600, "in_child": True}).error

    assert error is not None
    assert error["errorMessage"].endswith("signal: killed")
    left = [
        p for p in psutil.process_iter(["cmdline"]) if any("bytearray(403 <<" in a for a in p.info["cmdline"] or ())
    ]
    assert psutil.wait_procs(left, timeout=60)[1] == []
