"""Effects of a new template on a stack: resources that are added, removed, changed or replaced, and what is lost."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestration.deploy.account.asking import unavailable
from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.stack.purposes import LOGICAL
from schemas.errors import UserError

REPLACING: Final[Mapping[str, frozenset[str]]] = {
    "AWS::AutoScaling::AutoScalingGroup": frozenset({"AutoScalingGroupName"}),
    "AWS::EC2::SecurityGroup": frozenset({"GroupDescription", "GroupName", "VpcId"}),
    "AWS::ECS::CapacityProvider": frozenset({"Name"}),
    "AWS::ECS::Cluster": frozenset({"ClusterName"}),
    "AWS::ECS::Service": frozenset({"Cluster", "ServiceName"}),
    "AWS::Events::Rule": frozenset({"Name"}),
    "AWS::Lambda::EventSourceMapping": frozenset({"EventSourceArn", "SelfManagedEventSource", "StartingPosition"}),
    "AWS::Lambda::Function": frozenset({"FunctionName", "PackageType"}),
    "AWS::Logs::LogGroup": frozenset({"LogGroupName"}),
    "AWS::S3::Bucket": frozenset({"BucketName"}),
    "AWS::Scheduler::Schedule": frozenset({"Name"}),
    "AWS::SNS::Topic": frozenset({"FifoTopic", "TopicName"}),
    "AWS::SQS::Queue": frozenset({"FifoQueue", "QueueName"}),
    "AWS::StepFunctions::StateMachine": frozenset({"StateMachineName", "StateMachineType"}),
}
"""Properties whose change replaces the resource (from CloudFormation's schemas; a test compares)."""
LOST: Final = {
    "AWS::Logs::LogGroup": "its log lines are deleted",
    "AWS::SQS::Queue": "messages waiting in it are deleted",
    "AWS::SNS::Topic": "subscriptions that were added by hand are lost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One resource. `kind`: add, remove, change, replace. `warning`: what is lost, or left behind; may be empty."""

    kind: str
    name: str
    type: str
    properties: tuple[str, ...] = ()
    warning: str = ""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Changes ordered by name; those with warnings come first."""
    found = list(_changes(before.get("Resources", {}), after.get("Resources", {})))
    return sorted(found, key=lambda change: (not change.warning, change.name))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old is None:
            yield Change(kind="add", name=name, type=after[name]["Type"])
        elif new is None or old["Type"] != new["Type"]:
            yield Change(kind="remove", name=name, type=old["Type"], warning=_lost(old))
            if new is not None:
                yield Change(kind="add", name=name, type=new["Type"])
        elif differing := _differing(old, new):
            replaced = bool(REPLACING.get(old["Type"], frozenset()) & set(differing))
            yield Change(
                kind="replace" if replaced else "change",
                name=name,
                type=old["Type"],
                properties=differing,
                warning=_lost(old) if replaced else "",
            )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = old.get("Properties", {}), new.get("Properties", {})
    attributes = ("DeletionPolicy", "UpdateReplacePolicy", "DependsOn", "Condition")
    return tuple(
        sorted(
            [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
            + [key for key in attributes if old.get(key) != new.get(key)]
        )
    )


def _lost(old: Mapping[str, Any]) -> str:
    if old.get("DeletionPolicy") in {"Retain", "RetainExceptOnCreate"}:
        return "the old one stays behind with everything in it, and no longer belongs to this stack"
    return LOST.get(old["Type"], "")


def read_template(path: Path) -> dict[str, Any]:
    """A template in JSON. Raises `UserError` BAD_TEMPLATE."""
    try:
        template = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UserError("BAD_TEMPLATE", f"{path} cannot be read: {exc.strerror}", path=str(path)) from exc
    except ValueError as exc:
        raise UserError("BAD_TEMPLATE", f"{path} is not JSON: {exc}", path=str(path)) from exc
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise UserError("BAD_TEMPLATE", f"{path} is not a template: it has no Resources", path=str(path))
    return template


def deployed_template(settings: DeploySettings) -> dict[str, Any]:
    """The template that the stack has now. Empty if there is no such stack.

    Raises `RetriableError` AWS_UNAVAILABLE, also when credentials are missing or refused.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = _client(settings, "cloudformation").get_template(StackName=settings.name)["TemplateBody"]
    except ClientError as exc:
        if exc.response["Error"]["Code"] == "ValidationError":  # there is no stack of this name
            return {}
        raise unavailable(exc) from exc
    except BotoCoreError as exc:
        raise unavailable(exc) from exc
    return dict(json.loads(found) if isinstance(found, str) else found)


def taken_buckets(settings: DeploySettings, before: Mapping[str, Any]) -> list[str]:
    """Buckets that the stack would create although they exist, in any account. Raises as `deployed_template`."""
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = _client(settings, "s3")
    found = []
    for purpose, logical in LOGICAL.items():
        bucket = getattr(settings.buckets, purpose)
        deployed = before.get("Resources", {}).get(logical, {}).get("Properties", {}).get("BucketName")
        if purpose in settings.buckets.existing or deployed == bucket:
            continue
        try:
            s3.head_bucket(Bucket=bucket)
            found.append(bucket)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:  # 403 and 301: the name is taken
                found.append(bucket)
        except BotoCoreError as exc:
            raise unavailable(exc) from exc
    return found


def _client(settings: DeploySettings, service: str) -> Any:
    import boto3

    return boto3.client(service, region_name=settings.region)  # type: ignore[call-overload]  # the service varies
