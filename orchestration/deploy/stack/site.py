"""Context of every part of the stack: scope, settings, names, key; and roles whose wildcards need a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from orchestration.deploy.names import Names
from orchestration.deploy.settings import DeploySettings

VERSION: Final = "2012-10-17"
SCHEDULER_ROLE: Final = "SchedulerRole"
"""Logical id of the role with which EventBridge Scheduler calls; processes that set the time of a call pass it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One statement of a policy. `reason`: why it has a wildcard; without one it must not have any."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: dict[str, Any] | None = None
    reason: str = ""
    effect: str = "Allow"

    @property
    def statement(self) -> dict[str, Any]:
        """The statement in IAM's format."""
        plain = {"Effect": self.effect, "Action": list(self.actions), "Resource": list(self.resources)}
        return plain | ({"Condition": self.condition} if self.condition else {})

    @property
    def wildcards(self) -> tuple[str, ...]:
        """The resources that match more than one."""
        return tuple(resource for resource in self.resources if "*" in resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Context that every part gets."""

    stack: Any
    settings: DeploySettings
    names: Names
    key: str
    """ARN of the KMS key."""
    running: Any
    """The condition under which services, rule and mapping are active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An AWS service principal, and the account it acts for."""

    principal: str
    purpose_tag: bool = True
    """Whether the service states the account that it acts for; Lambda and EC2 do not."""


def acknowledge(construct: Any, rule: str, reason: str) -> None:
    """Acknowledge one finding of cdk-nag on one resource. A test checks that cdk-nag would report it otherwise."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))


def role(site: Site, name: str, service: Service, grants: Sequence[Grant], description: str) -> Any:
    """A role for one part. Raises ValueError for a wildcard without a reason."""
    trust: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service.principal},
        "Action": "sts:AssumeRole",
    }
    if service.purpose_tag:
        # No other account may have the service act for it with this role.
        trust["Condition"] = {"StringEquals": {"aws:SourceAccount": site.settings.account}}
    created = iam.CfnRole(
        site.stack,
        name,
        description=description,
        assume_role_policy_document={"Version": VERSION, "Statement": [trust]},
        policies=[
            iam.CfnRole.PolicyProperty(
                policy_name=name,
                policy_document={"Version": VERSION, "Statement": [grant.statement for grant in grants]},
            )
        ],
    )
    for grant in grants:
        if grant.effect == "Allow":
            if grant.wildcards and not grant.reason:
                raise ValueError(f"{name}: {grant.actions} on {grant.wildcards} has no reason")
            for resource in grant.wildcards:
                acknowledge(created, f"IAM5[Resource::{resource}]", grant.reason)
    return created


def create_after(construct: Any, *others: Any) -> Any:
    """Create the construct after others that it refers to only by name; returns it."""
    for other in others:
        construct.add_resource_dependency(other)
    return construct
