"""cfn-lint, cdk-nag and our own rules on the template; every exception has a reason, and is still needed."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.deploy.checks import load
from orchestration.deploy.settings import DeploySettings, Kafka, Shared
from orchestration.deploy.synthesis import prepare
from tests.unit.orchestration.deploy.conftest import API, EXAMPLE, Template

MACHINES = ("ExportAudience", "ImportAudience")
EVERYTHING = load(EXAMPLE)
OTHERWISE = replace(
    EVERYTHING,
    buckets=replace(EVERYTHING.buckets, access_logs=""),
    logs=replace(EVERYTHING.logs, tracing=False, container_insights=True),
    kafka=Kafka(bootstrap="k1:9094"),
    shared=Shared(imports=("theirs",), exports=("others",)),
    network=replace(EVERYTHING.network, endpoints=("states",)),
    api=API,
)
"""Little of the example, and the service, which it does not have."""


def findings(settings: DeploySettings, directory: Path) -> set[tuple[str, str]]:
    """(resource, rule) of everything that cdk-nag finds."""
    prepare()
    import aws_cdk as cdk
    from cdk_nag import AwsSolutionsChecks

    from orchestration.deploy.stack.build import build_stack

    app = cdk.App(outdir=str(directory), analytics_reporting=False)
    build_stack(app, settings)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except Exception as exc:  # noqa: BLE001  # jsii has no class for it
        assert "ValidationFailed" in str(exc)  # noqa: PT017
    found = set()
    report = json.loads((directory / "validation-report.json").read_text())
    for plugin in report["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                found.add((construct["constructPath"].partition("/")[2], violation["ruleName"]))
    return found


def test_cfn_lint_finds_nothing(template: Template) -> None:
    from cfnlint.api import ManualArgs, lint

    config = ManualArgs(regions=[template.settings.region])
    assert [str(match) for match in lint(json.dumps(template.body), config=config)] == []


def test_cfn_lint_detects_an_unknown_property(template: Template) -> None:
    from cfnlint.api import ManualArgs, lint

    broken = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"Colour": "blue"}}}}
    assert lint(json.dumps(broken), config=ManualArgs(regions=[template.settings.region])) != []


def test_cdk_nag_findings_all_have_a_reason(tmp_path: Path) -> None:
    """Each synthesis takes seconds: that all of it has a reason otherwise, too, is shown by the next test."""
    assert findings(EVERYTHING, tmp_path) == set()


@pytest.mark.parametrize("settings", [EVERYTHING, OTHERWISE], ids=["example", "otherwise"])
def test_every_reason_matches_a_cdk_nag_finding(
    settings: DeploySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[tuple[str, str], str] = {}

    def note(construct: Any, rule: str, reason: str) -> None:
        given[construct.node.id, f"AwsSolutions-{rule}"] = reason

    for module in modules_that_acknowledge():
        monkeypatch.setattr(module, "acknowledge", note)
    found = findings(settings, tmp_path)
    assert set(given) == found
    assert all(len(reason.split()) >= 5 for reason in given.values())


def modules_that_acknowledge() -> list[Any]:
    """Every module of the stack that uses the function."""
    prepare()
    import orchestration.deploy.stack.build  # noqa: F401 - it loads all of them
    from orchestration.deploy.stack import site

    return [
        module
        for name, module in sys.modules.items()
        if name.startswith("orchestration.deploy.stack.") and getattr(module, "acknowledge", None) is site.acknowledge
    ]


def documents(template: Template) -> list[tuple[str, Mapping[str, Any]]]:
    """(role, statement) of every role."""
    return [(role, s) for role in template.of_type("IAM::Role") for s in template.statements(role)]


def test_no_role_has_an_action_with_a_wildcard_or_a_managed_policy(template: Template) -> None:
    for role, statement in documents(template):
        assert not [action for action in statement["Action"] if "*" in action], role
    assert not [role for role, properties in template.of_type("IAM::Role").items() if "ManagedPolicyArns" in properties]


def test_every_policy_fits_a_role(template: Template) -> None:
    """All inline policies may have 10,240 characters without white space (IAM quotas); resolved values are longer."""
    for role, properties in template.of_type("IAM::Role").items():
        assert len(json.dumps(properties["Policies"], separators=(",", ":"))) < 7_500, role


def test_wildcard_resources_appear_only_where_aws_requires_them(template: Template) -> None:
    """By the Service Authorization Reference; actions on network interfaces as Lambda checks them for a function."""
    unlimited = {
        action
        for _, statement in documents(template)
        if "*" in statement["Resource"] and statement["Effect"] == "Allow"
        for action in statement["Action"]
    }
    assert unlimited == {
        *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"),
        *("ec2:DescribeSubnets", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
        *("ec2:DescribeVpcs", "ec2:DescribeSecurityGroups"),
        *("ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"),
        *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery"),
        *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
        *("logs:DescribeLogGroups", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
    }


def test_only_senders_may_read_the_secrets_of_mail_and_webhooks(template: Template) -> None:
    notify, mail = template.settings.notify, template.settings.mail
    for secret, senders in ((mail.secret, {"RelayRole"}), (notify.webhook_secret, {"RelayRole", "FeederRole"})):
        assert {role for role, statement in documents(template) if secret in statement["Resource"]} == senders


def test_steps_that_only_keep_records_reach_no_bucket_and_no_kafka(template: Template) -> None:
    text = json.dumps(template.statements("RecordFunctionRole"))
    assert "s3:" not in text
    assert template.settings.kafka.secret not in text


def test_doctor_may_ask_in_the_relay_what_it_asks_anywhere(template: Template) -> None:
    asked = [s["Resource"] for s in template.statements("RelayRole") if "states:DescribeStateMachine" in s["Action"]]
    assert asked == [[template.settings.arn("states", f"stateMachine:muster-{name}") for name in MACHINES]]


def test_msk_lets_the_mapping_list_the_secrets_of_its_users(template: Template) -> None:
    """Lambda checks that the secret of a mapping with SCRAM is associated with the cluster."""
    allowed = {action for s in template.statements("JobEventsFunctionRole") for action in s["Action"]}
    assert {"kafka:ListScramSecrets", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"} <= allowed


def test_inbox_is_only_read_and_only_below_its_prefix(template: Template) -> None:
    inbox = template.settings.bucket_arn(template.settings.buckets.inbox)
    for role, statement in documents(template):
        for resource in statement["Resource"]:
            if isinstance(resource, str) and resource.startswith(f"{inbox}/"):
                assert set(statement["Action"]) == {"s3:GetObject", "s3:GetObjectVersion"}, role
                assert resource == f"{inbox}/{template.settings.buckets.inbox_prefix}*", role


@pytest.mark.parametrize("role", ["ExportsFunctionRole", "ExportTaskRole"])
def test_export_writes_only_exports_and_the_lease_of_its_version(template: Template, role: str) -> None:
    arn, buckets = template.settings.bucket_arn, template.settings.buckets
    written = [s["Resource"] for s in template.statements(role) if "s3:PutObject" in s["Action"]]
    assert [resource for resources in written for resource in resources] == [
        arn(buckets.staging, "download/*"),
        arn(buckets.lake, "exports/*"),
        arn(buckets.lake, "audiences/*/*/metadata/*"),
        *(arn(bucket, "*") for bucket in template.settings.shared.exports),
    ]


def test_state_machine_passes_only_task_roles_and_only_to_ecs(template: Template) -> None:
    for machine, more in (("ImportAudience", ()), ("ExportAudience", ("ExportTaskRole",))):
        (passing,) = [s for s in template.statements(f"{machine}Role") if s["Action"] == ["iam:PassRole"]]
        assert passing["Resource"] == [{"Fn::GetAtt": [role, "Arn"]} for role in ("TaskRole", "ExecutionRole", *more)]
        assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_state_machine_invokes_only_functions_of_its_definition(template: Template) -> None:
    for machine in ("ImportAudience", "ExportAudience"):
        called = set(re.findall(r"\$\{(\w+Function)\}", template[machine]["DefinitionString"]))
        (calls,) = [s for s in template.statements(f"{machine}Role") if s["Action"] == ["lambda:InvokeFunction"]]
        assert {resource["Fn::GetAtt"][0] for resource in calls["Resource"]} == called


def test_a_wildcard_without_a_reason_is_refused() -> None:
    prepare()
    import aws_cdk as cdk

    from orchestration.deploy.stack import site

    app = cdk.App(analytics_reporting=False)
    settings = load(EXAMPLE)
    place = site.Site(stack=cdk.Stack(app, "s"), settings=settings, names=None, key="", running="")  # type: ignore[arg-type]  # no names are asked for
    grant = site.Grant(actions=("s3:GetObject",), resources=("arn:aws:s3:::any/*",))
    with pytest.raises(ValueError, match="has no reason"):
        site.role(place, "Role", site.Service(principal="lambda.amazonaws.com"), [grant], "one that is too wide")
