"""What a new template would change in a stack."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from orchestration.deploy.changes import REPLACING, Change, changes, deployed_template, read_template, taken_buckets
from orchestration.deploy.checks import load
from schemas.errors import RetriableError, UserError
from tests.unit.orchestration.deploy.conftest import EXAMPLE, Template

SETTINGS = load(EXAMPLE)


def resource(type_: str, *, kept: bool = False, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{type_}", "Properties": properties} | (
        {"DeletionPolicy": "RetainExceptOnCreate"} if kept else {}
    )


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(c.kind, c.name, bool(c.warning)) for c in changes({"Resources": before}, {"Resources": after})]


def test_template_does_not_differ_from_itself(template: Template) -> None:
    assert changes(template.body, json.loads(json.dumps(template.body))) == []


def test_data_loss_is_listed_first() -> None:
    before = {
        "Bucket": resource("S3::Bucket", kept=True, BucketName="a"),
        "Logs": resource("Logs::LogGroup", LogGroupName="/a"),
        "Gone": resource("SQS::Queue"),
        "Function": resource("Lambda::Function", MemorySize=1),
    }
    after = {
        "Bucket": resource("S3::Bucket", kept=True, BucketName="b"),
        "Logs": resource("Logs::LogGroup", LogGroupName="/b"),
        "Added": resource("SNS::Topic"),
        "Function": resource("Lambda::Function", MemorySize=2),
    }
    assert compare(before, after) == [
        ("replace", "Bucket", True),
        ("remove", "Gone", True),
        ("replace", "Logs", True),
        ("add", "Added", False),
        ("change", "Function", False),
    ]


def test_another_type_under_the_same_name_is_another_resource() -> None:
    assert compare({"A": resource("SQS::Queue")}, {"A": resource("SNS::Topic")}) == [
        ("remove", "A", True),
        ("add", "A", False),
    ]


def test_a_change_names_the_properties() -> None:
    (change,) = changes(
        {"Resources": {"A": resource("SQS::Queue", Colour=1, Size=1)}},
        {"Resources": {"A": resource("SQS::Queue", Colour=2, Size=1)}},
    )
    assert change == Change(kind="change", name="A", type="AWS::SQS::Queue", properties=("Colour",))


def test_replacements_follow_cloudformation_schemas(template: Template) -> None:
    """For properties that the stack uses, and for task definitions, where every change makes a new revision."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    for type_, properties in REPLACING.items():
        used = {p for made in template.of_type(type_.removeprefix("AWS::")).values() for p in made}
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", type_).schema
        paths = [path.split("/")[2:] for path in schema.get("createOnlyProperties", [])]
        whole = {path[0] for path in paths if len(path) == 1}
        assert whole & used <= properties <= {path[0] for path in paths}, type_


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Resources": 3}'])
def test_invalid_template_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_template(path)
    assert raised.value.code == "BAD_TEMPLATE"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("aws")
def test_deployed_template_is_fetched_or_absent() -> None:
    body = {
        "Resources": {"InboxBucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": SETTINGS.buckets.inbox}}}
    }
    from moto import mock_aws

    with mock_aws():
        assert deployed_template(SETTINGS) == {}
        boto3.client("cloudformation", region_name=SETTINGS.region).create_stack(
            StackName=SETTINGS.name, TemplateBody=json.dumps(body)
        )
        assert deployed_template(SETTINGS) == body


@pytest.mark.usefixtures("aws")
def test_existing_foreign_bucket_is_reported() -> None:
    mine = {"Resources": {"InboxBucket": resource("S3::Bucket", BucketName=SETTINGS.buckets.inbox)}}
    from moto import mock_aws

    with mock_aws():
        s3 = boto3.client("s3", region_name=SETTINGS.region)
        for bucket in (SETTINGS.buckets.inbox, SETTINGS.buckets.lake):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        assert taken_buckets(SETTINGS, mine) == [SETTINGS.buckets.lake]


def test_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(RetriableError) as raised:
        deployed_template(SETTINGS)
    assert raised.value.code == "AWS_UNAVAILABLE"
