"""`muster connect`: addresses and snippets without keys, keys only in a private file."""

import io
import json
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main

SNIPPETS = ("shell", "duckdb", "boto3", "aws", "kafka", "trino")
SECRET = "hush-hush-hush"
PASSWORD = "postgres-password"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "metrics").mkdir(parents=True)
    (home / "metrics" / "relay").write_text("127.0.0.1:19900\n")
    (home / "s3").mkdir()
    (home / "s3" / "s3.json").write_text("{}")  # its server has run
    (home / "kafka").mkdir()
    for user in ("muster", "client"):
        (home / "kafka" / f"{user}.json").write_text(json.dumps({"username": user, "password": f"{user}-{SECRET}"}))
    monkeypatch.setenv("MUSTER_KAFKA_BOOTSTRAP", "sasl_plaintext://127.0.0.1:19092?mechanism=SCRAM-SHA-512")
    monkeypatch.setenv("MUSTER_HOME", str(home))
    monkeypatch.setenv("MUSTER_S3_SECRET_KEY", SECRET)
    monkeypatch.setenv("MUSTER_CATALOG_URL", f"postgresql+psycopg://muster:{PASSWORD}@db/muster")
    monkeypatch.chdir(tmp_path)


def test_addresses_are_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["s3"], found["kafka"]) == ("http://127.0.0.1:18333", "127.0.0.1:19092")
    assert found["service"] == "http://127.0.0.1:18480"
    assert found["inbox"] == "s3://inbox/<tenant>/<audience>/<file>"
    assert found["metrics"] == {"relay": "http://127.0.0.1:19900/metrics"}
    assert (found["kafka_protocol"], found["kafka_mechanism"]) == ("sasl_plaintext", "SCRAM-SHA-512")
    assert found["kafka_credentials"].endswith("/home/kafka/client.json")
    assert PASSWORD not in str(found)
    assert SECRET not in str(found)
    assert main(["connect"]) == 0
    said = capsys.readouterr()
    assert "http://127.0.0.1:18333" in said.out
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("kind", SNIPPETS)
def test_a_snippet_names_variables_and_holds_no_key(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", f"--{kind}"]) == 0
    said = capsys.readouterr().out
    assert ("127.0.0.1:19092" if kind == "kafka" else "127.0.0.1:18333") in said
    assert SECRET not in said
    assert PASSWORD not in said
    if kind != "shell":
        assert {"kafka": "KAFKA_PASSWORD", "duckdb": "LAKE_SECRET", "trino": "LAKE_SECRET"}.get(
            kind, "S3_SECRET"
        ) in said


def test_a_snippet_of_python_is_python(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["connect", "--boto3"]) == 0
    monkeypatch.setenv("S3_KEY", "muster")
    monkeypatch.setenv("S3_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(capsys.readouterr().out, names)
    assert names["s3"].meta.endpoint_url == "http://127.0.0.1:18333"
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["connect", "--kafka"]) == 0
    monkeypatch.setenv("KAFKA_USER", "client")
    monkeypatch.setenv("KAFKA_PASSWORD", SECRET)
    exec(capsys.readouterr().out, names)
    assert isinstance(names["producer"], Producer)
    assert "0 events could not be sent" in capsys.readouterr().out
    monkeypatch.setenv("MUSTER_KAFKA_BOOTSTRAP", "sasl_ssl://127.0.0.1:1?mechanism=AWS_MSK_IAM&region=eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "muster")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert main(["connect", "--kafka"]) == 0
    exec(capsys.readouterr().out, names)
    text, expires_at_s = names["token"]("")
    assert (text[:8], expires_at_s > time.time()) == ("aHR0cHM6", True)  # https: in base64
    names.clear()  # the producer tries to connect as long as it lives


def test_keys_are_written_to_a_private_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["connect", "--write", "muster.keys"]) == 0
    file = tmp_path / "muster.keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = json.loads((tmp_path / "home/s3/keys/client-default.json").read_text())
    assert written(file) == {
        "S3_KEY": "client-default",
        "S3_SECRET": key["secret_key"],
        "KAFKA_USER": "client",
        "KAFKA_PASSWORD": f"client-{SECRET}",
    }
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert key["secret_key"] not in said.out + said.err


def test_each_tenant_has_its_own_stable_keys(tmp_path: Path) -> None:
    for tenant, more in (("acme", ["--lake"]), ("beta", []), ("acme", ["--lake"])):
        assert main(["connect", "--write", f"{tenant}.keys", "--tenant", tenant, *more]) == 0
    acme, beta = written(tmp_path / "acme.keys"), written(tmp_path / "beta.keys")
    assert (acme["S3_KEY"], acme["LAKE_KEY"], beta["S3_KEY"]) == ("client-acme", "lake-acme", "client-beta")
    assert len({acme["S3_SECRET"], acme["LAKE_SECRET"], beta["S3_SECRET"], SECRET}) == 4
    configured = json.loads((tmp_path / "home/s3/s3.json").read_text())["identities"]
    assert {one["name"]: one["actions"] for one in configured} == {
        "muster": ["Admin", "Read", "List", "Tagging", "Write"],
        **{
            f"client-{name}": [
                f"Read:staging/download/{name}/*",
                f"List:staging/download/{name}/*",
                f"Write:inbox/{name}/*",
                f"List:inbox/{name}/*",
            ]
            for name in ("acme", "beta", "default")
        },
        "lake-acme": ["Read:lake/audiences/acme/*", "List:lake/audiences/acme/*"],
    }
    assert [one["credentials"] for one in configured if one["name"] == "lake-acme"] == [
        [{"accessKey": "lake-acme", "secretKey": acme["LAKE_SECRET"]}]
    ]
    for file in (tmp_path / "home/s3").rglob("*.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tenant_key_is_created_on_the_servers_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home/s3/s3.json").unlink()
    assert main(["connect", "--write", "muster.keys"]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("NO_KEYS: ")
    assert main(["connect", "--write", "muster.keys", "--tenant", "../x"]) == ExitCode.USER_ERROR
    assert not (tmp_path / "muster.keys").exists()


def written(file: Path) -> dict[str, str]:
    """The variables of a file of keys."""
    lines = (line for line in file.read_text().splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_foreign_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("notes", "link"):
        assert main(["connect", "--write", name]) == ExitCode.USER_ERROR
        assert capsys.readouterr().err.startswith("DESTINATION_EXISTS: ")
    assert (tmp_path / "notes").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_aws_keys_come_from_a_role(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MUSTER_S3_ENDPOINT", "")
    assert main(["connect", "--write", "muster.keys"]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err.startswith("NO_KEYS: ")
    for kind in SNIPPETS:
        assert main(["connect", f"--{kind}"]) == 0
        said = capsys.readouterr().out
        assert "S3_SECRET" not in said
        assert "LAKE_SECRET" not in said


def test_trino_and_athena_see_only_readable_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(kind: str) -> str:
        assert main(["connect", f"--{kind}"]) == 0
        return capsys.readouterr().out

    assert "connection-url=jdbc:postgresql://db/muster\n" in said("trino")
    assert said("athena").startswith("-- Athena reads S3 at AWS alone")
    monkeypatch.setenv("MUSTER_CATALOG_URL", "sqlite:////var/lib/muster/catalog.db")
    assert all(line.startswith("# ") for line in said("trino").splitlines())
    url = f"postgresql+psycopg://muster:{PASSWORD}@db:6432/muster?sslmode=verify-full&connect_timeout=3"
    monkeypatch.setenv("MUSTER_CATALOG_URL", url)
    monkeypatch.setenv("MUSTER_S3_ENDPOINT", "")
    assert "connection-url=jdbc:postgresql://db:6432/muster?sslmode=verify-full\n" in (at_aws := said("trino"))
    assert "s3.aws" not in at_aws
    compile(said("athena"), "athena", "exec")


def test_combined_forms_are_a_usage_error() -> None:
    assert main(["connect", "--shell", "--aws"]) == ExitCode.USAGE
    assert main(["connect", "--shell", "--json"]) == ExitCode.USAGE
