"""What every part of the stack is made in: scope, settings, names, key; and roles whose wildcards have reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from orchestration.deploy.names import Names
from orchestration.deploy.settings import DeploySettings

VERSION: Final = "2012-10-17"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One statement of a policy. `reason`: why it has a wildcard; without one it must have none."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: dict[str, Any] | None = None
    reason: str = ""
    effect: str = "Allow"

    @property
    def statement(self) -> dict[str, Any]:
        """As IAM has it."""
        plain = {"Effect": self.effect, "Action": list(self.actions), "Resource": list(self.resources)}
        return plain | ({"Condition": self.condition} if self.condition else {})

    @property
    def wildcards(self) -> tuple[str, ...]:
        """The resources that stand for more than one."""
        return tuple(resource for resource in self.resources if "*" in resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Handed to every part."""

    stack: Any
    settings: DeploySettings
    names: Names
    key: str
    """ARN of the KMS key."""
    running: Any
    """The condition under which services, rule and mapping are at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A principal of AWS, and for whom it may act."""

    principal: str
    says_for_whom: bool = True
    """Whether the service says for which account it acts; Lambda and EC2 do not."""


def acknowledge(construct: Any, rule: str, reason: str) -> None:
    """Let one finding of cdk-nag pass on one resource. A test holds that it would be found without this."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))


def role(site: Site, name: str, service: Service, grants: Sequence[Grant], description: str) -> Any:
    """A role of its own for one part. Raises ValueError for a wildcard without a reason."""
    trust: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service.principal},
        "Action": "sts:AssumeRole",
    }
    if service.says_for_whom:
        # Nobody else's stack may have the service act for it with this role.
        trust["Condition"] = {"StringEquals": {"aws:SourceAccount": site.settings.account}}
    made = iam.CfnRole(
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
                acknowledge(made, f"IAM5[Resource::{resource}]", grant.reason)
    return made


def after(construct: Any, *others: Any) -> Any:
    """The construct, made after others that it names only by their names."""
    for other in others:
        construct.add_resource_dependency(other)
    return construct
