"""`muster deploy synth` and `diff`, as users type them."""

import json
from pathlib import Path

import pytest

from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main
from orchestration.deploy import synthesis
from tests.unit.orchestration.deploy.conftest import EXAMPLE, Template


@pytest.fixture
def synthesised(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reuse the session's template, since a synthesis takes seconds."""
    monkeypatch.setattr(synthesis, "synthesise", lambda _: template.body)


@pytest.mark.usefixtures("synthesised")
def test_synth_writes_the_template_and_names_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], template: Template
) -> None:
    assert main(["deploy", "synth", str(EXAMPLE), "--out", str(tmp_path / "out")]) == ExitCode.OK
    path = tmp_path / "out" / "muster.template.json"
    assert json.loads(path.read_text()) == template.body
    said = capsys.readouterr()
    assert f"{path}: {len(template.body['Resources'])} resources" in said.out
    assert "aws cloudformation deploy --region eu-central-1 --stack-name muster" in said.err


@pytest.mark.usefixtures("synthesised")
def test_synth_and_diff_speak_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "synth", str(EXAMPLE), "--out", str(tmp_path), "--json"]) == ExitCode.OK
    written = json.loads(capsys.readouterr().out)
    assert written["stack"] == "muster"
    assert main(["deploy", "diff", str(EXAMPLE), "--template", written["template"], "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"changes": [], "buckets_taken": []}


@pytest.mark.usefixtures("synthesised")
def test_diff_warns_of_retained_resources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], template: Template
) -> None:
    before = json.loads(json.dumps(template.body))
    before["Resources"]["LakeBucket"]["Properties"]["BucketName"] = "another"
    path = tmp_path / "before.json"
    path.write_text(json.dumps(before))
    assert main(["deploy", "diff", str(EXAMPLE), "--template", str(path)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "replace" in said
    assert "WARNING LakeBucket: the old one stays behind" in said
    assert main(["deploy", "diff", str(EXAMPLE), "--template", str(path), "--deployed"]) == ExitCode.USAGE


def test_invalid_settings_end_the_command_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deploy.toml"
    path.write_text(EXAMPLE.read_text().replace("SCRAM-SHA-512", "NTLM"))
    assert main(["deploy", "synth", str(path), "--json"]) == ExitCode.USER_ERROR
    said = capsys.readouterr()
    assert said.err.startswith("BAD_DEPLOYMENT: ")
    assert "kafka.mechanism: 'NTLM' is not one of" in said.err
    assert json.loads(said.out)["error"]["detail"]["settings"] == ["kafka.mechanism", "kafka.mechanism"]


def test_missing_extra_is_reported_with_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(synthesis, "MODULES", ("no_such_module",))
    assert main(["deploy", "synth", str(EXAMPLE), "--out", str(tmp_path)]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("DEPLOY_MISSING: ")


@pytest.mark.usefixtures("synthesised")
def test_unwritable_output_is_a_user_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["deploy", "synth", str(EXAMPLE), "--out", str(tmp_path / "file")]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("NOT_WRITABLE: ")
