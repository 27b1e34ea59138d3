"""A reader survives failing questions, and reports only details that the caller may see."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from orchestration import answers
from orchestration.answers import conversation as module
from orchestration.answers.conversation import Conversation
from orchestration.answers.interruption import Interrupted
from orchestration.api.problems import problem
from orchestration.platform.settings import Secret, Settings
from orchestration.readers.frames import frames_of
from orchestration.readers.questions import QUESTIONS
from orchestration.readers.reader import error_of
from orchestration.readers.starting import without_other_secrets
from schemas.errors import MusterError, RetriableError, UserError

ROOT = Path(__file__).parents[4]
Ask = Callable[[Exception | None], dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made, frames = Conversation(theirs, Settings(home=tmp_path)), frames_of(ours)

        def go(error: Exception | None) -> dict[str, Any]:
            def answer(*_: object) -> str:
                if error is not None:
                    raise error
                return "fine"

            monkeypatch.setattr(module, "answer_of", answer)
            made._answer({"number": 1, "question": "ListWorkers", "given": {}})
            return next(frames)

        yield go


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UserError("BAD_RULE", "no"), "BAD_RULE", "user"),
        (RetriableError("LAKE_UNAVAILABLE", "away"), "LAKE_UNAVAILABLE", "retriable"),
        (MemoryError(), "QUESTION_TOO_BIG", "user"),
        (ZeroDivisionError("ann@example.com"), "INTERNAL", "fatal"),
    ],
)
def test_error_is_an_answer_and_the_reader_continues(ask: Ask, error: Exception, code: str, kind: str) -> None:
    found = MusterError.from_record(ask(error)["error"])
    assert (found.code, found.kind) == (code, kind)
    assert "ann@example.com" not in str(found)
    assert ask(None) == {"answer": "fine"}


def test_bug_report_contains_the_location_but_no_user_data(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    error = error_of(ask(ZeroDivisionError("ann@example.com")))
    caplog.clear()
    body = problem(error, "01m")
    [line] = caplog.messages
    assert line.startswith("request 01m: INTERNAL: a bug in a reader: ZeroDivisionError at orchestration/answers/conv")
    assert re.search(r" > orchestration/answers/test_conversation\.py:\d+ answer$", line)
    assert "ann@example.com" not in line
    assert "conversation" not in str(body) + str(error.as_record())


def test_abandoned_question_reports_no_error(ask: Ask) -> None:
    assert ask(Interrupted()) == {"error": None}


def test_reader_gets_only_required_secrets(tmp_path: Path) -> None:
    needed = {"s3_secret_key", "catalog_url"}
    names = {one.name for one in fields(Settings) if isinstance(one.default, Secret)}
    secrets: dict[str, Any] = {name: Secret(f"secret-{name}") for name in names - needed}
    secrets["operator_webhooks"] = "secret-in-an-address"
    given = without_other_secrets(
        Settings(home=tmp_path, s3_secret_key=Secret("needed"), catalog_url=Secret("sqlite:///c.db"), **secrets)
    ).environment()
    assert not [value for value in given.values() if value.startswith("secret-")]
    back = Settings.of_environment(given)
    assert (back.s3_secret_key.reveal(), back.catalog_url.reveal(), back.home) == ("needed", "sqlite:///c.db", tmp_path)


def test_every_question_has_an_answering_module() -> None:
    assert module.MODULES.keys() == set(QUESTIONS.values())
    for question, name in module.MODULES.items():
        assert question in import_module(f"{answers.__name__}.{name}").ANSWERS


CONFINED = """
from importlib import import_module
from orchestration.answers.server import load
load()
from numba.core.caching import FunctionCache
def refuse(*_):
    raise RuntimeError("a confined process has no cache of compiled code")
FunctionCache.__init__ = refuse
from orchestration.answers.conversation import MODULES
for name in sorted({*MODULES.values()} - {"objects"}):  # it parses files, in readers that are not confined
    import_module(f"orchestration.answers.{name}")
"""


def test_no_answer_needs_a_kernel_that_its_server_has_not_loaded() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CONFINED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
