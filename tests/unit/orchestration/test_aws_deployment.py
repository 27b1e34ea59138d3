"""A deployment at AWS as its processes see it: empty addresses, credentials of a role, prefixes."""

import json
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from connectors.kafka.topics import TopicDifference
from connectors.kafka.worker_group import group_members
from connectors.sandbox import Layer
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.deploy.checks import load
from orchestration.deploy.environment import environment
from orchestration.entrypoints import health
from orchestration.local.parts import aws_environment
from orchestration.operations import doctor
from orchestration.operations.availability import require_services
from orchestration.operations.doctor import Diagnosis
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.errors import RetriableError, UserError
from streams.staging import staging_store

EXAMPLE = Path(__file__).parents[3] / "docs" / "muster-deploy.example.toml"
AT_AWS = {
    "MUSTER_S3_ENDPOINT": "",
    "MUSTER_S3_ACCESS_KEY": "",
    "MUSTER_ENGINE_URL": "",
    "MUSTER_AWS_REGION": "eu-west-1",
    "MUSTER_S3_REGION": "eu-west-1",
    "MUSTER_ACCOUNT_ID": "000000000000",
    "MUSTER_MACHINE_PREFIX": "prod-",
    "MUSTER_KAFKA_BOOTSTRAP": "b-1.msk.example:9096,b-2.msk.example:9096",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"role {name[4:].lower()}")
    return Settings.load({**AT_AWS, "MUSTER_HOME": str(tmp_path), "MUSTER_CATALOG_URL": f"sqlite:///{tmp_path}/c.db"})


def test_step_functions_uses_the_region_and_role_credentials(settings: Settings) -> None:
    workflow = Context(settings).workflow
    assert workflow.meta.endpoint_url == "https://states.eu-west-1.amazonaws.com"
    credentials = workflow._request_signer._credentials  # type: ignore[attr-defined]
    assert (credentials.access_key, credentials.token) == ("role access_key_id", "role session_token")


@pytest.mark.parametrize("key", ["one", "another"])
def test_each_test_has_its_own_credentials(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    signer = boto3.client("sns", region_name="eu-west-1")._request_signer
    assert signer._credentials.access_key == key


def test_machines_have_the_names_of_the_stack(settings: Settings) -> None:
    context = Context(settings)
    assert context.engine.machine_arn() == "arn:aws:states:eu-west-1:000000000000:stateMachine:prod-ImportAudience"
    assert context.engine.execution_arn("0a", EXPORT_MACHINE) == (
        "arn:aws:states:eu-west-1:000000000000:execution:prod-ExportAudience:0a"
    )


def test_s3_clients_use_bucket_hosts_and_role_credentials(
    settings: Settings,
) -> None:
    context = Context(settings)
    clients = {
        "objects": context.objects._client,
        "lake": context.s3.client(),
        "workers": staging_store(s3_access(settings))._objects._client,
    }
    for name, client in clients.items():
        url = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "lake-1", "Key": "k"}))
        assert url.hostname in {"lake-1.s3.amazonaws.com", "lake-1.s3.eu-west-1.amazonaws.com"}, name
        assert (url.path, "role%20session_token" in url.query or "role+session_token" in url.query) == ("/k", True)


def test_custom_endpoint_is_addressed_by_path(tmp_path: Path) -> None:
    local = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_S3_SECRET_KEY": "x"})
    for client in (Context(local).s3.client(), staging_store(s3_access(local))._objects._client):
        url = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "lake", "Key": "k"}))
        assert (url.netloc, url.path) == ("127.0.0.1:18333", "/lake/k")


def test_parts_keep_existing_credentials(settings: Settings, tmp_path: Path) -> None:
    assert aws_environment(settings) == {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"}
    local = Settings.load({"MUSTER_HOME": str(tmp_path)})
    assert aws_environment(local)["AWS_SECRET_ACCESS_KEY"] == local.engine_keys()["aws_secret_access_key"]


def test_loopback_is_not_contacted(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(RetriableError, match="STACK_NOT_RUNNING"):
        require_services(settings, "object store")  # there is no catalog yet
    (tmp_path / "c.db").touch()
    require_services(settings, "object store", "workflow engine", "Kafka")
    assert health.engine_works(settings)


READ = Diagnosis(severity="ok", subject="object store", text="buckets can be read")
DIFFERENCES = (
    TopicDifference(topic="muster.imports", setting="partitions", expected="8", actual=None),
    TopicDifference(topic="muster.events", setting="partitions", expected="8", actual="4"),
)


def test_doctor_checks_services_not_the_embedded_stack(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.ServiceChecks, "_buckets", lambda _: iter([READ]))
    monkeypatch.setattr(doctor, "probe", lambda: Layer.NAMESPACES)
    monkeypatch.setattr("orchestration.operations.doctor.group_members", lambda *_: 0)
    monkeypatch.setattr("orchestration.operations.doctor.topic_differences", lambda _: DIFFERENCES)
    context = Context(settings)
    monkeypatch.setitem(vars(context), "workflow", _Describes())
    reported = [doctor.sandbox(settings), *administration.service_checks(context).run()]
    assert [(d.subject, d.severity, d.code) for d in reported] == [
        ("sandbox", "note", None),
        ("catalog", "wrong", "CATALOG_UNAVAILABLE"),
        ("object store", "ok", None),
        ("workflow", "ok", None),
        ("topic muster.imports", "wrong", "TOPIC_MISSING"),
        ("topic muster.events", "wrong", "TOPIC_DIFFERS"),
        ("workers", "wrong", "NO_WORKER"),
    ]
    assert "muster up" not in str(reported)
    assert "docs/deploy.md" in reported[1].text
    assert reported[3].text == "prod-ExportAudience, prod-ImportAudience are deployed"
    assert "has partitions = 4, should have 8" in reported[5].text


def test_doctor_names_an_undeployed_state_machine(settings: Settings) -> None:
    context = Context(settings)
    vars(context)["workflow"] = _Describes(but="ExportAudience")
    [reported] = list(
        doctor.run_check("workflow", lambda: administration.service_checks(context)._machines("deploy"), "deploy")
    )
    assert (reported.code, reported.text) == ("STATE_MACHINE_MISSING", "prod-ExportAudience not deployed; deploy")


class _Describes:
    def __init__(self, but: str = "none") -> None:
        self._but = but

    def describe_state_machine(self, *, stateMachineArn: str) -> None:  # noqa: N803  # boto3's name
        if stateMachineArn.endswith(self._but):
            raise ClientError({"Error": {"Code": "StateMachineDoesNotExist"}}, "DescribeStateMachine")


@pytest.mark.parametrize("secrets", [(), ("CATALOG_URL",), ("CATALOG_URL", "KAFKA_CREDENTIALS", "SMTP")], ids=str)
def test_every_process_starts_with_its_subset_of_secrets(secrets: tuple[str, ...], tmp_path: Path) -> None:
    """A function without Kafka access has the address, which asks for credentials, but not the credentials."""
    given = environment(load(EXAMPLE), secrets, home=str(tmp_path))
    settings = Settings.load(given)
    assert settings.kafka_bootstrap.startswith("sasl_ssl://")
    assert (settings.engine_url, settings.s3_endpoint, settings.s3_access_key) == ("", "", "")
    known = {f"MUSTER_{field.name.upper()}" for field in fields(Settings)}
    beside = {"MUSTER_SECRETS", "MUSTER_CATALOG_HOST", "MUSTER_CATALOG_PORT", "MUSTER_CATALOG_NAME"}
    assert given.keys() <= known | beside
    assert set(json.loads(given.get("MUSTER_SECRETS", "{}"))) <= set(secrets)


def test_missing_kafka_credentials_are_reported(tmp_path: Path) -> None:
    settings = Settings.load(environment(load(EXAMPLE), (), home=str(tmp_path)))
    with pytest.raises(UserError, match=r"BAD_SETTINGS: .*needs credentials=FILE"):
        group_members(settings.kafka_bootstrap, "workers")
