"""The real `muster` command on a stack of its own: everything a person can do, through the door a person uses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestration.context import Context
from orchestration.settings import Settings
from tests.conftest import stack_environment, stop_and_check

COMMAND_TIMEOUT_S = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


Muster = Callable[..., Answer]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The whole stack, started by `muster up` and stopped by `muster down`."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    try:
        up = run(home, "up", "--free-ports")
        assert up.code == 0, up.err
        yield Settings.load({"MUSTER_HOME": str(home)})
        down = run(home, "down")
        assert down.code == 0, down.err
    finally:
        stop_and_check(home)


@pytest.fixture(scope="session")
def context(deployment: Settings) -> Context:
    """Stores and clients of the deployment, for what a test has to arrange or look up behind the command line."""
    return Context(deployment)


@pytest.fixture(scope="session")
def muster(deployment: Settings) -> Muster:
    """`muster("jobs", "list")` runs the command and returns its answer."""

    def command(*arguments: object, stdin: str | None = None) -> Answer:
        return run(deployment.home, *map(str, arguments), stdin=stdin)

    return command


def run(home: Path, *arguments: str, stdin: str | None = None, extra: Mapping[str, str] | None = None) -> Answer:
    """One command in a process of its own. `extra`: more of its environment."""
    done = subprocess.run(
        command_line(arguments),
        env={**environment(home), **(extra or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    return Answer(code=done.returncode, out=done.stdout, err=done.stderr)


def command_line(arguments: Sequence[str]) -> list[str]:
    """The installed script, next to the interpreter that runs the tests."""
    return [str(Path(sys.executable).parent / "muster"), *arguments]


def environment(home: Path) -> dict[str, str]:
    """The developer's environment without their own stack."""
    return {**stack_environment({}), "MUSTER_HOME": str(home), "COLUMNS": "80", "HOME": os.environ.get("HOME", "/")}


def write(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def ids_of(muster: Muster, audience: str, version: int | None = None) -> list[str]:
    """The members of an audience, sorted, as `muster sql` reads them."""
    at = "" if version is None else f", version => {version}"
    answer = muster("sql", f"select user_id from audience('{audience}'{at}) order by 1", "--json")
    assert answer.code == 0, answer.err
    return [row["user_id"] for row in answer.json]
