"""Secrets Manager secrets as settings of a process, and the errors if they are missing."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError

from orchestration.entrypoints import handlers
from orchestration.entrypoints.container import SECRETS_EXIT_CODE
from orchestration.entrypoints.container_secrets import point_to_kafka_files, provide
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, RetriableError, UserError
from schemas.kafka_address import KafkaAddress
from tests.servers.certificates import make_certificate
from tests.servers.moto_aws import REGION, client, environment, moto_server

HUSH = "p@ss:/?#%+ ü&=hush"
RDS = {"username": "muster owner", "password": HUSH, "engine": "postgres", "host": "db.example", "port": 6432}
ABSENT = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:nothing-AbCdEf"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as running:
        yield running


@pytest.fixture
def secrets(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return client("secretsmanager", endpoint)


def kept(secrets: Any, value: object) -> str:
    """ARN of a new secret."""
    text = value if isinstance(value, str) else json.dumps(value)
    return str(secrets.create_secret(Name=f"s-{os.urandom(6).hex()}", SecretString=text)["ARN"])


def provided(home: Path, more: dict[str, str] | None = None, **arns: str) -> dict[str, str]:
    env = {"MUSTER_HOME": str(home / "muster"), "MUSTER_SECRETS": json.dumps(arns), **(more or {})}
    provide(env)
    return env


def test_environment_without_secrets_is_unchanged(tmp_path: Path) -> None:
    for text in ("", None):
        env = {} if text is None else {"MUSTER_SECRETS": text}
        provide(env)
        point_to_kafka_files(env)
        assert env.keys() <= {"MUSTER_SECRETS"}


def test_database_secret_becomes_its_url(secrets: Any, tmp_path: Path) -> None:
    env = provided(tmp_path, CATALOG_URL=kept(secrets, {**RDS, "dbname": "muster/one"}))
    url = sa.make_url(Settings.load(env).catalog_url.reveal())
    assert (url.drivername, url.username, url.password) == ("postgresql+psycopg", "muster owner", HUSH)
    assert (url.host, url.port, url.database) == ("db.example", 6432, "muster/one")
    assert url.query == {"sslmode": "require"}


def test_a_secret_that_rds_manages_has_user_and_password_only(secrets: Any, tmp_path: Path) -> None:
    arn = kept(secrets, {"username": "muster", "password": HUSH})
    place = {"MUSTER_CATALOG_HOST": "proxy.example", "MUSTER_CATALOG_NAME": "muster"}
    url = sa.make_url(provided(tmp_path, place, CATALOG_URL=arn)["MUSTER_CATALOG_URL"])
    assert (url.password, url.host, url.port, url.database) == (HUSH, "proxy.example", 5432, "muster")
    with pytest.raises(UserError, match=f"CATALOG_URL.*{arn} has no text for host, and MUSTER_CATALOG_HOST is not set"):
        provided(tmp_path, CATALOG_URL=arn)


def test_database_settings_override_the_secret(secrets: Any, tmp_path: Path) -> None:
    arn = kept(secrets, {**RDS, "dbname": "other"})
    place = {"MUSTER_CATALOG_HOST": "proxy.example", "MUSTER_CATALOG_PORT": "5555", "MUSTER_CATALOG_NAME": "muster"}
    url = sa.make_url(provided(tmp_path, place, CATALOG_URL=arn)["MUSTER_CATALOG_URL"])
    assert (url.host, url.port, url.database) == ("proxy.example", 5555, "muster")


def test_kafka_credentials_are_a_private_file(secrets: Any, tmp_path: Path) -> None:
    old = tmp_path / "muster" / "kafka-credentials.json"
    old.parent.mkdir()
    old.write_text("of an earlier start")
    old.chmod(0o644)
    arn = kept(secrets, {"username": "muster", "password": HUSH, "more": "x"})
    more = {"MUSTER_KAFKA_BOOTSTRAP": "sasl_ssl://b:9096?mechanism=SCRAM-SHA-512"}
    env = provided(tmp_path, more, KAFKA_CREDENTIALS=arn)
    file = Path(env["MUSTER_KAFKA_CREDENTIALS_FILE"])
    assert json.loads(file.read_text()) == {"username": "muster", "password": HUSH}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert Settings.load(env).kafka_bootstrap.endswith(f"&credentials={file}")


def test_kafka_credentials_variable_is_not_inherited(tmp_path: Path) -> None:
    text = json.dumps({"username": "muster", "password": HUSH})
    for read in (provide, point_to_kafka_files, point_to_kafka_files):
        env = {"MUSTER_HOME": str(tmp_path), "MUSTER_KAFKA_CREDENTIALS": text}
        read(env)
        file = Path(env["MUSTER_KAFKA_CREDENTIALS_FILE"])
        assert (json.loads(file.read_text())["password"], stat.S_IMODE(file.stat().st_mode)) == (HUSH, 0o600)
        assert "MUSTER_KAFKA_CREDENTIALS" not in env
        if read is provide:
            file.unlink()
    with pytest.raises(UserError, match="MUSTER_KAFKA_CREDENTIALS is not JSON") as refused:
        provide({"MUSTER_HOME": str(tmp_path), "MUSTER_KAFKA_CREDENTIALS": HUSH})
    assert HUSH not in str(refused.value)


def test_health_check_reuses_the_credentials_file(secrets: Any, tmp_path: Path) -> None:
    arn = kept(secrets, {"username": "muster", "password": "first"})
    env = provided(tmp_path, KAFKA_CREDENTIALS=arn)
    asked = {"MUSTER_HOME": env["MUSTER_HOME"], "MUSTER_SECRETS": json.dumps({"KAFKA_CREDENTIALS": ABSENT})}
    point_to_kafka_files(asked)
    assert asked["MUSTER_KAFKA_CREDENTIALS_FILE"] == env["MUSTER_KAFKA_CREDENTIALS_FILE"]
    Path(env["MUSTER_KAFKA_CREDENTIALS_FILE"]).unlink()
    alone = {**asked, "MUSTER_SECRETS": json.dumps({"KAFKA_CREDENTIALS": arn, "CATALOG_URL": ABSENT})}
    point_to_kafka_files(alone)
    assert json.loads(Path(alone["MUSTER_KAFKA_CREDENTIALS_FILE"]).read_text())["password"] == "first"
    assert "MUSTER_CATALOG_URL" not in alone


def test_certificates_verify_database_and_brokers(secrets: Any, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)[0].read_text()
    arn = kept(secrets, {"certificate": pem})
    database = kept(secrets, {**RDS, "dbname": "muster"})
    more = {"MUSTER_KAFKA_BOOTSTRAP": "ssl://b:9094"}
    env = provided(tmp_path, more, KAFKA_CA=arn, CATALOG_URL=database, CATALOG_CA=arn)
    settings = Settings.load(env)
    url = sa.make_url(settings.catalog_url.reveal())
    assert url.query["sslmode"] == "verify-full"
    trusted = KafkaAddress.parse(settings.kafka_bootstrap).ca
    assert trusted is not None
    assert [Path(file).read_text() for file in (trusted, str(url.query["sslrootcert"]))] == [pem, pem]
    asked = {**more, "MUSTER_HOME": env["MUSTER_HOME"], "MUSTER_SECRETS": json.dumps({"KAFKA_CA": ABSENT})}
    point_to_kafka_files(asked)
    assert Settings.load(asked).kafka_bootstrap == settings.kafka_bootstrap, "the health check reads the same file"
    compose = {**more, "MUSTER_HOME": str(tmp_path / "compose"), "MUSTER_KAFKA_CA": pem}
    provide(compose)
    assert (tmp_path / "compose" / "kafka-ca.pem").read_text() == pem
    assert "MUSTER_KAFKA_CA" not in compose


def test_database_without_certificates_is_encrypted_only(secrets: Any, tmp_path: Path) -> None:
    env = provided(tmp_path, CATALOG_URL=kept(secrets, {**RDS, "dbname": "muster"}))
    assert sa.make_url(env["MUSTER_CATALOG_URL"]).query == {"sslmode": "require"}


def test_other_secrets_become_settings(secrets: Any, tmp_path: Path) -> None:
    settings = Settings.load(
        provided(
            tmp_path,
            SMTP=kept(secrets, {"username": "AKIA", "password": HUSH}),
            WEBHOOK_SECRET=kept(secrets, "of webhooks\n"),
            METRICS_TOKEN=kept(secrets, "of metrics"),
        )
    )
    assert (settings.smtp_user, settings.smtp_password.reveal()) == ("AKIA", HUSH)
    assert (settings.webhook_secret.reveal(), settings.metrics_token.reveal()) == ("of webhooks", "of metrics")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("CATALOG_URL", HUSH, "is not JSON"),
        ("CATALOG_URL", [HUSH], "is not a JSON object"),
        ("CATALOG_URL", {**RDS, "dbname": "d", "password": ""}, "has no text for password"),
        ("CATALOG_URL", {"password": HUSH, "host": "h", "dbname": "d"}, "has no text for username"),
        ("CATALOG_URL", {**RDS}, "has no text for dbname, and MUSTER_CATALOG_NAME is not set"),
        ("CATALOG_URL", {**RDS, "dbname": "d", "port": HUSH}, "has a port that is not a number"),
        ("KAFKA_CREDENTIALS", {"username": "u", "password": 7, "x": HUSH}, "has no text for password"),
        ("SMTP", {"user": "u", "password": HUSH}, "has no text for username"),
        ("KAFKA_CA", HUSH, "is not JSON"),
        ("KAFKA_CA", {"certificate": HUSH}, "has no certificates as PEM in its field certificate"),
        ("CATALOG_CA", {"pem": HUSH}, "has no text for certificate"),
        ("METRICS_TOKEN", " \n", "has no text"),
    ],
)
def test_malformed_secret_is_named_but_not_shown(
    secrets: Any, tmp_path: Path, name: str, value: object, what: str
) -> None:
    arn = kept(secrets, value)
    with pytest.raises(UserError) as caught:
        provided(tmp_path, None, **{name: arn})
    assert (caught.value.code, caught.value.message) == ("BAD_SECRET", f"{name}: the secret {arn} {what}")
    assert "hush" not in f"{caught.value!r} {caught.value.as_record()} {caught.value.__cause__}"


def test_missing_secret_is_named(secrets: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"BAD_SECRET: METRICS_TOKEN: the secret {ABSENT} does not exist"):
        provided(tmp_path, METRICS_TOKEN=ABSENT)
    gone = kept(secrets, "gone")
    secrets.delete_secret(SecretId=gone)
    with pytest.raises(UserError, match="does not exist, or is being deleted"):
        provided(tmp_path, METRICS_TOKEN=gone)


@pytest.mark.parametrize(
    ("code", "status", "error", "message"),
    [
        ("AccessDeniedException", 400, UserError, "BAD_SECRET: SMTP: .*cannot be read by this role"),
        ("DecryptionFailure", 400, UserError, "BAD_SECRET: SMTP: .*DecryptionFailure"),
        ("ThrottlingException", 400, RetriableError, "SECRETS_UNAVAILABLE: SMTP: .*could not be read"),
        ("InternalServiceError", 500, RetriableError, "SECRETS_UNAVAILABLE"),
    ],
)
def test_refusal_by_secrets_manager_names_the_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    error: type[Exception],
    message: str,
) -> None:
    """moto checks no permissions, so botocore returns a scripted answer."""

    def refuse(_: object, operation: str, __: object) -> None:
        answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, operation)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(error, match=message):
        provided(tmp_path, SMTP=ABSENT)


def test_outage_is_not_a_settings_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RetriableError, match="SECRETS_UNAVAILABLE: SMTP"):
        provided(tmp_path, SMTP=ABSENT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "MUSTER_SECRETS is not JSON; it must name the ARNs of CATALOG_CA, CATALOG_URL, "),
        ('["a"]', "is not a JSON object of names and ARNs"),
        ('{"SMTP": ""}', "is not a JSON object of names and ARNs"),
        ('{"SMTP": "a", "PASSWORD": "b"}', "has unknown names: PASSWORD; known are .*CATALOG_URL, .*METRICS_TOKEN"),
    ],
)
def test_malformed_list_of_secrets_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"BAD_SECRET: .*{message}"):
        provide({"MUSTER_SECRETS": text})


def test_unwritable_home_is_named(secrets: Any, tmp_path: Path) -> None:
    (tmp_path / "muster").touch()
    arn = kept(secrets, {"username": "u", "password": "p"})
    with pytest.raises(UserError, match=r"kafka-credentials\.json cannot be written .*: MUSTER_HOME must be"):
        provided(tmp_path, KAFKA_CREDENTIALS=arn)


def test_refused_logon_is_retried_with_a_changed_secret(
    secrets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = kept(secrets, {"username": "u", "password": "old"})
    for name, value in provided(tmp_path, KAFKA_CREDENTIALS=arn).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(handlers, "configure", lambda _: None)
    handlers.forget_context()

    @handlers.errors_by_name
    def refused(_: handlers.Event, __: object) -> dict[str, Any]:
        raise FatalError("LOGON_REFUSED", "not with this password", broker="b:9096")

    def kind() -> str:
        with pytest.raises(Exception, match="LOGON_REFUSED") as caught:
            refused({}, None)
        record = json.loads(str(caught.value))
        assert (record["message"], record["detail"]) == ("not with this password", {"broker": "b:9096"})
        return type(caught.value).__name__

    assert kind() == "FatalError"
    secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"username": "u", "password": "new"}))
    assert kind() == "RetriableError"
    assert kind() == "FatalError"
    secrets.delete_secret(SecretId=arn)
    assert kind() == "FatalError"
    handlers.forget_context()


def run(tmp_path: Path, endpoint: str, arns: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the entry point with a program that prints its settings, and whether it has the password."""
    (tmp_path / "awslambdaric.py").write_text(
        "from orchestration.platform.settings import Settings\n"
        "settings = Settings.load()\n"
        "print(settings, len(settings.catalog_url.reveal()) > 20)\n"
    )
    env = {
        **os.environ,
        **environment(endpoint),
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[4]}",
        "MUSTER_HOME": str(tmp_path / "home"),
        "MUSTER_SECRETS": json.dumps(arns),
    }
    command = [sys.executable, "-m", "orchestration.entrypoints.container", "lambda", "handler"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_entry_point_starts_a_program_with_its_secrets(secrets: Any, endpoint: str, tmp_path: Path) -> None:
    ended = run(tmp_path, endpoint, {"CATALOG_URL": kept(secrets, {**RDS, "dbname": "muster"})})
    assert (ended.returncode, ended.stderr, "True" in ended.stdout) == (0, "", True)
    assert "hush" not in ended.stdout


def test_missing_secret_ends_the_entry_point_by_name(secrets: Any, endpoint: str, tmp_path: Path) -> None:
    ended = run(tmp_path, endpoint, {"CATALOG_URL": kept(secrets, {"password": HUSH}), "SMTP": ABSENT})
    assert (ended.returncode, ended.stdout) == (SECRETS_EXIT_CODE, "")
    reported = json.loads(ended.stderr)
    assert (reported["code"], "CATALOG_URL" in reported["message"], "hush" in ended.stderr) == (
        "BAD_SECRET",
        True,
        False,
    )
