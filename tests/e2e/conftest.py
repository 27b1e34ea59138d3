"""The `muster` command on its own stack: everything a user can do, through the user's entry point.

`muster` runs a command in this process: it calls what the installed script calls, with the environment and streams of a
separate process. `script` runs the installed script itself, which starts Python for each call.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from orchestration.catalog.references import ref_of
from orchestration.cli.main import main
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from schemas.ids import AudienceName, TenantName, Version
from tests.conftest import SOURCES, stack_environment, stop_and_check
from tests.faults.waiting import until

COMMAND_TIMEOUT_S = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


Muster = Callable[..., Answer]


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The whole stack, started by `muster up` and stopped by `muster down` after the tests of this folder."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    try:
        up = run_script(home, "up", "--free-ports")
        assert up.code == 0, up.err
        yield Settings.load({"MUSTER_HOME": str(home)})
        down = run_script(home, "down")
        assert down.code == 0, down.err
    finally:
        stop_and_check(home)


@pytest.fixture(scope="package")
def context(deployment: Settings) -> Iterator[Context]:
    """Stores and clients of the deployment, for arrangements and checks that bypass the command line."""
    context = Context(deployment)
    context.s3.client().create_bucket(Bucket=SOURCES)
    yield context
    context.close()


@pytest.fixture(scope="package")
def muster(deployment: Settings) -> Muster:
    """`muster("jobs", "list")` runs the command in this process and returns its answer."""

    def command(*arguments: object, stdin: str = "", extra: Mapping[str, str] | None = None) -> Answer:
        return run(deployment.home, *map(str, arguments), stdin=stdin, extra=extra)

    return command


@pytest.fixture(scope="package")
def script(deployment: Settings) -> Muster:
    """Same as `muster`, with the installed script in its own process."""

    def command(*arguments: object) -> Answer:
        return run_script(deployment.home, *map(str, arguments))

    return command


def run(home: Path, *arguments: str, stdin: str = "", extra: Mapping[str, str] | None = None) -> Answer:
    """Run a command in this process. `extra`: additions to its environment."""
    streams = {
        "stdin": io.StringIO(stdin),
        "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
        "stderr": io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
    }
    with ExitStack() as meanwhile:
        meanwhile.enter_context(patch.dict(os.environ, {**environment(home), **(extra or {})}, clear=True))
        for name, stream in streams.items():
            meanwhile.enter_context(patch.object(sys, name, stream))
        code = main(arguments)
    for name in ("stdout", "stderr"):
        streams[name].seek(0)
    return Answer(code=code, out=streams["stdout"].read(), err=streams["stderr"].read())


def run_script(home: Path, *arguments: str) -> Answer:
    """Run a command in its own process."""
    done = subprocess.run(
        command_line(arguments),
        env=environment(home),
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
    """Write a text file with these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def imported(muster: Muster, file: object, audience: str, *options: str) -> Answer:
    """Import a file, and check that it was published."""
    answer = muster("import", file, "-a", audience, *options, "--wait", "--json")
    assert answer.code == 0, answer.err
    return answer


def submitted(muster: Muster, source: object, *options: str) -> str:
    """Start an import and return its job, without waiting: many are started at once, then awaited together."""
    answer = muster("import", source, *options, "--json")
    assert answer.code in {0, 3}, answer.err  # 3: it failed before the command had an answer
    return str(answer.json["job"])


def ended(muster: Muster, job: str) -> Answer:
    """Wait for a job; returns how it ended."""
    return muster("jobs", "wait", job, "--json")


def put_in_order(context: Context, objects: Mapping[str, bytes]) -> None:
    """Put objects into the customer's bucket, each newer than the last by S3's clock, which counts whole seconds."""
    newest = datetime.fromtimestamp(0, UTC)
    for key, content in objects.items():

        def put_later(key: str = key, content: bytes = content, before: datetime = newest) -> datetime | None:
            context.objects.put(SOURCES, key, content)
            made = context.objects.pin(SOURCES, key).last_modified
            return made if made > before else None

        newest = until(put_later, f"{key} later than {newest}")


def ids_of(context: Context, audience: str, version: int | None = None) -> list[str]:
    """Members of an audience, sorted; read from its files, without Muster's reader."""
    ref = ref_of(context.audiences.get(TenantName("default"), AudienceName(audience)))
    current = context.versions.current(ref)
    assert current is not None
    users: list[str] = []
    for part in context.versions.files(ref, Version(version) if version is not None else current.version):
        with context.s3.filesystem().open_input_file(part.uri.removeprefix("s3://")) as file:
            users += pq.read_table(file, columns=["user_id"]).column("user_id").to_pylist()
    return sorted(users)
