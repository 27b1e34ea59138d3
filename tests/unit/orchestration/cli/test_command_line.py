"""Parsing, help and documentation of every command, and how errors leave the process."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer.main

from orchestration.cli.exits import ExitCode
from orchestration.cli.main import app, main
from orchestration.cli.session import SESSION, Session
from tests.fakes.catalog import catalog_in

ROOT = Path(__file__).parents[4]
DOCS = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every group and command with its full name."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app), ("muster",)))
LEAVES = {path: c for path, c in ALL.items() if not hasattr(c, "commands")}
LISTED = {path: c for path, c in LEAVES.items() if not c.hidden}


@pytest.mark.parametrize("path", sorted(ALL), ids=" ".join)
def test_every_help_has_an_example_and_fits_80_columns(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path[1:], "-h"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Examples?:\n  .*muster", text)
    before_examples = text[: text.index("Example")]
    assert max(map(len, before_examples.splitlines())) <= 80


@pytest.mark.parametrize("path", sorted(LISTED), ids=" ".join)
def test_every_command_is_documented_with_its_options(path: tuple[str, ...]) -> None:
    section = re.search(rf"^### `{' '.join(path)}`\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/cli.md has no section on {' '.join(path)}"
    assert f"{' '.join(path)}" in section[1], "the section has no example"
    shared = DOCS[: DOCS.index("## Commands")]
    for parameter in LEAVES[path].params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert f"`{option}" in section[1] + shared, option


def test_every_job_command_accepts_latest() -> None:
    taking = {path for path, one in LEAVES.items() if any(parameter.metavar == "JOB" for parameter in one.params)}
    by_latest = {path for path, one in LEAVES.items() if any("--latest" in parameter.opts for parameter in one.params)}
    assert ("muster", "rejects") in taking
    assert taking - by_latest == {("muster", "audit")}  # --job filters a list


def test_exit_codes_match_the_documentation() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS, re.MULTILINE)
    assert rows == [(str(int(code)), code.meaning) for code in ExitCode]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("muster jobs li", "list"), ("muster import --ki", "--kind"), ("muster sche", "schedules")],
)
def test_shells_complete_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, offered: str
) -> None:
    monkeypatch.setenv("_MUSTER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert main([]) == 0
    assert capsys.readouterr().out.split() == [offered]


def test_completion_is_installed_for_the_shell_of_its_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # the tests' may be another
    assert main(["--install-completion"]) == 0
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "complete -o default -F _muster_completion muster" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from orchestration.cli.main import main; main(['import', '--help']); "
        "print([m for m in ('boto3', 'sqlalchemy', 'pyarrow', 'duckdb', 'numba', 'pyiceberg', 'confluent_kafka') "
        "if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "x.csv"],
        ["import", "--audience", "vip"],
        ["import", "x.csv", "-a", "vip", "--allow-shrink", "--max-shrink", "3"],
        ["import", "x.csv", "-a", "vip", "--dry-run", "--wait"],
        ["export", "vip", "--to", "x.parquet", "--format", "csv"],
        ["export", "vip", "--to", "x.parquet", "--delta-from", "2"],
        ["export", "vip", "--to", "x.parquet", "--where", "age > 3"],
        ["export", "vip", "--to", "x.parquet", "--columns", "age"],
        ["export", "vip", "--to", "x.parquet", "--row-group-rows", "5000"],
        ["export", "vip", "--to", "x", "--overwrite"],
        ["export", "vip", "--to", "x.csv", "--format", "csv"],
        ["export", "vip", "--to", "x.CSV.gz"],
        ["export", "vip", "--to", "s3://bucket/x.jsonl", "--format", "jsonl"],
        ["export", "vip", "--to", "x", "--version", "2", "--as-of", "2026-11-25"],
        ["export", "vip", "--to", "x", "--as-of", "yesterday"],
        ["dead-letters", "replay"],
        ["dead-letters", "replay", "1", "--all"],
        ["dead-letters", "dismiss", "1", "--code", "undecodable"],
        ["jobs", "list", "--limit", "0"],
        ["nonsense"],
    ],
)
def test_invalid_command_line_is_a_usage_error(arguments: list[str]) -> None:
    assert main(arguments) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--column", "user_id"], "BAD_COLUMN"),
        (["--column", "age:number"], "BAD_COLUMN"),
        (["--column", "a", "--column", "A"], "BAD_SPEC"),
        (["--mode", "merge"], "BAD_SPEC"),
        (["--format", "xml"], "BAD_SPEC"),
        (["--max-reject-share", "2"], "BAD_SPEC"),
        (["--max-shrink", "101"], "BAD_SPEC"),
    ],
)
def test_invalid_spec_is_a_user_error_before_the_start(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "x.csv", "-a", "vip", *arguments]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith(f"{code}: ")


def test_invalid_export_format_is_a_user_error_before_reading(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "vip", "--to", "x", "--format", "xml"]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("BAD_FORMAT: ")


def test_invalid_export_is_reported_without_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "home"))
    for name in ("manifest.json", "x" * 300):
        assert main(["verify", str(tmp_path / name)]) == ExitCode.USER_ERROR
        assert capsys.readouterr().err.startswith("NO_MANIFEST: ")
    assert main(["verify", str(tmp_path)]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.endswith(f"name the manifest in it, usually {tmp_path / 'manifest.json'}\n")
    (tmp_path / "manifest.json").write_text('{"manifest": 1}')
    assert main(["verify", str(tmp_path / "manifest.json")]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("BAD_MANIFEST: ")
    assert main(["verify", "s3://exports/manifest.json"]) == ExitCode.SYSTEM_ERROR
    assert capsys.readouterr().err.startswith("STACK_NOT_RUNNING: ")
    assert not (tmp_path / "home").exists()


def test_commands_without_a_stack_explain_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "home"))
    for arguments in (["fsck"], ["worker"]):
        assert main(arguments) == ExitCode.SYSTEM_ERROR
        said = capsys.readouterr().err
        assert said.startswith("STACK_NOT_RUNNING: ")
        assert "muster up" in said
    for arguments in (["jobs", "list"], ["import", "x.csv", "-a", "vip"], ["audiences", "show", "vip"]):
        assert main(arguments) == ExitCode.USER_ERROR
        said = capsys.readouterr().err
        assert said.startswith("NO_ACCESS: ")
        assert "muster up" in said
    assert not (tmp_path / "home").exists()


def test_json_command_prints_errors_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "home"))
    assert main(["jobs", "list", "--json"]) == ExitCode.USER_ERROR
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "NO_ACCESS"
    assert not SESSION.json, "the next command of this process would print JSON"


def test_status_of_a_stopped_stack_is_a_failed_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "home"))
    assert main(["status"]) == ExitCode.CHECK_FAILED
    assert "not running" in capsys.readouterr().out


def test_command_leaves_no_state_in_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    catalog_in(tmp_path)
    monkeypatch.setenv("MUSTER_WEBHOOK_SECRET", "x" * 32)
    assert main(["--as", "ann", "--debug", "notifications", "key", "--to", str(tmp_path / "key")]) == ExitCode.OK
    assert main(["notifications", "list", "--json"]) == ExitCode.USER_ERROR
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["error"]["code"] == "NO_ACCESS"
    assert Session() == SESSION
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []
