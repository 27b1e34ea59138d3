"""Every line of a log is one JSON object that names its subject."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.entrypoints.handlers import errors_by_name
from orchestration.platform.logs import JsonFormatter, TextFormatter, configure
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.log_ids import bind, bound, current


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with bound():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("orchestration.kinds", logging.INFO, __file__, 1, message, args, None)


def test_line_is_one_json_object_with_bound_ids() -> None:
    with bound(job="j1", tenant="acme"):
        bind(attempt=2, partition=None)
        line = JsonFormatter().format(record("%d rows\nsecond line é", 3))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "INFO",
        "logger": "orchestration.kinds",
        "message": "3 rows\nsecond line é",
        "job": "j1",
        "tenant": "acme",
        "attempt": 2,
    }
    assert current() == {}


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as exc:
        failed = record("failed")
        failed.exc_info = (ValueError, exc, exc.__traceback__)
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert "ValueError: broken\nin two" in json.loads(line)["exception"]


def test_text_has_the_ids_at_its_end() -> None:
    with bound(job="j1"):
        assert TextFormatter("%(message)s").format(record("done")) == "done [job=j1]"


def test_bound_ids_are_local_to_a_thread() -> None:
    def seen(number: int) -> bool:
        with bound(job=number):
            return all(current() == {"job": number} for _ in range(1000))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(seen, range(32)))


def test_a_handler_logs_with_the_id_of_its_job() -> None:
    @errors_by_name
    def handler(event: object, context: object) -> dict[str, object]:
        return dict(current())

    event = {"job_id": "j1", "execution": "arn:aws:states:eu-west-1:1:execution:ImportAudience:run-1"}
    assert handler(event, None) == {"job": "j1", "execution": "run-1"}
    assert current() == {}


def test_json_logs_go_to_stderr_and_replace_the_runtimes_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings())
    logging.getLogger("x").info("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
    logging.getLogger("pyiceberg.io").info("Loaded FileIO")
    assert not capsys.readouterr().err
    configure(Settings(log="text"))
    logging.getLogger("x").info("hello")
    assert capsys.readouterr().err.endswith("INFO x hello\n")


def test_unknown_log_format_is_refused() -> None:
    with pytest.raises(UserError, match="neither json nor text"):
        configure(Settings(log="xml"))
