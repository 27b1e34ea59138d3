"""What AWS and a single machine share: definitions, functions, names, events, environment."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from benchmarks.idle_month import API, RELAY
from orchestration.deploy.checks import load
from orchestration.deploy.environment import environment, secrets_of
from orchestration.deploy.names import names_of
from orchestration.deploy.synthesis import prepare
from orchestration.notifications.courier import can_send
from orchestration.notifications.recipients import operators
from orchestration.platform.settings import ENV_PREFIX, Settings
from orchestration.quoting.deployment import MACHINE, TASK, WORKER
from orchestration.workflow import resources
from schemas.errors import FatalError
from schemas.kafka_address import KafkaAddress
from tests.unit.orchestration.deploy.conftest import EXAMPLE, Template

WORKFLOW = resources.WORKFLOW
NOT_SETTINGS = {"SECRETS", "CATALOG_HOST", "CATALOG_PORT", "CATALOG_NAME", "JOB_EVENTS_TOPIC"}
"""Variables read by the container before its program, or needed by one function alone."""


def test_channels_are_used_only_by_processes_with_their_secrets(template: Template) -> None:
    """A function that may not read a channel's secret would only record a failed try and delay the notification."""
    declared = {"SMTP": "email", "WEBHOOK_SECRET": "webhook"}
    for name, variables in environments(template).items():
        settings = Settings.of_environment({key: str(value) for key, value in variables.items()})
        readable = json.loads(variables.get("MUSTER_SECRETS", "{}"))
        for secret, channel in declared.items():
            assert can_send(channel, settings) == (secret in readable), (name, channel)  # type: ignore[arg-type]  # of two


@pytest.mark.parametrize("name", ["import_audience", "export_audience"])
def test_a_definition_is_the_file_byte_for_byte(template: Template, name: str) -> None:
    machine = "".join(word.capitalize() for word in name.split("_"))
    file = Path(WORKFLOW / f"{name}.asl.json").read_bytes()
    assert template[machine]["DefinitionString"].encode() == file


def test_every_substitution_has_exactly_one_value(template: Template) -> None:
    for machine in resources.machine_specs():
        named = set(resources.SUBSTITUTION.findall(machine.definition))
        assert set(template[machine.name]["DefinitionSubstitutions"]) == named


def test_functions_share_one_image_and_differ_by_command(template: Template) -> None:
    made = template.of_type("Lambda::Function")
    specs = (*resources.function_specs(), resources.EVENT_FUNCTION)
    assert set(made) == {f"{spec.name}Function" for spec in specs}
    for spec in specs:
        function = made[f"{spec.name}Function"]
        assert function["Code"] == {"ImageUri": template.settings.image}
        assert function["ImageConfig"] == {"Command": ["lambda", spec.handler]}
        assert (function["Timeout"], function["MemorySize"]) == (spec.timeout_s, spec.memory_mb)
        assert function["FunctionName"] == resources.PREFIX + spec.name


def test_every_function_requires_a_role() -> None:
    prepare()
    from orchestration.deploy.stack.functions import GROUPS, group_of

    grouped = [name for group in GROUPS for name in group.functions]
    assert sorted(grouped) == sorted(spec.name for spec in resources.function_specs())
    with pytest.raises(FatalError, match="Unheard"):
        group_of("Unheard")


def test_deployment_named_muster_uses_local_names(template: Template) -> None:
    names = names_of(template.settings)
    assert names.cluster == resources.CLUSTER
    assert names.rule == resources.INBOX_RULE
    assert names.task_family == resources.TASK_FAMILY
    assert names.machine_task_family == resources.MACHINE_TASK_FAMILY
    assert names.capacity == resources.MACHINE_CAPACITY
    assert template["Cluster"]["ClusterName"] == names.cluster
    assert template["TaskDefinition"]["Family"] == names.task_family
    assert template["MachineTaskDefinition"]["Family"] == names.machine_task_family
    assert template["MachineCapacity"]["Name"] == names.capacity
    assert template["ImportAudience"]["StateMachineName"] == f"{names.machine_prefix}ImportAudience"


def test_the_rule_matches_the_events_of_the_local_stack(template: Template) -> None:
    buckets = template.settings.buckets
    rule = template["InboxRule"]
    assert rule["EventPattern"] == resources.inbox_pattern(buckets.inbox, buckets.inbox_prefix)
    assert template["InboxArchive"]["EventPattern"] == rule["EventPattern"], "what is sent again is what was missed"
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["ImportAudience", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["InboxDeadLetters", "Arn"]}}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}


def test_environment_carries_the_deployments_settings(template: Template) -> None:
    given = environment(template.settings, secrets_of(template.settings))
    known = {ENV_PREFIX + field.name.upper() for field in fields(Settings)}
    extra = {name.removeprefix(ENV_PREFIX) for name in given.keys() - known}
    assert extra <= NOT_SETTINGS
    loaded = Settings.load({**given, "MUSTER_KAFKA_CREDENTIALS_FILE": "/run/kafka.json"})
    assert loaded.lake_bucket == "acme-muster-lake"
    assert loaded.partitions == 8
    assert loaded.s3_endpoint == loaded.engine_url == ""


def test_operators_round_trip_through_the_environment() -> None:
    example = load(EXAMPLE)
    settings = replace(
        example,
        mail=replace(example.mail, operators=("a@example.com", "b@example.com")),
        notify=replace(example.notify, operator_webhooks=("https://example.com/a,b", "https://example.com/c")),
    )
    given = environment(settings, ())
    read = operators(given["MUSTER_OPERATOR_EMAILS"], given["MUSTER_OPERATOR_WEBHOOKS"])
    assert [recipient.address for recipient in read] == [
        *("a@example.com", "b@example.com"),
        *("https://example.com/a,b", "https://example.com/c"),
    ]


def test_every_process_of_the_stack_has_that_environment(template: Template) -> None:
    for name, function in template.of_type("Lambda::Function").items():
        given = function["Environment"]["Variables"]
        assert given["MUSTER_STAGING_BUCKET"] == "acme-muster-staging", name
        assert given["MUSTER_HOME"] == "/tmp/muster", name
    for name, family in template.of_type("ECS::TaskDefinition").items():
        (container,) = family["ContainerDefinitions"]
        values = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
        assert values["MUSTER_STAGING_BUCKET"] == "acme-muster-staging", name
        assert values["MUSTER_KAFKA_BOOTSTRAP"].startswith("sasl_ssl://b-1."), name
        assert "password" not in str(container).lower(), name


def test_every_process_loads_its_settings_with_its_secrets(template: Template) -> None:
    for name, variables in environments(template).items():
        load_as_a_process(name, variables)


def environments(template: Template) -> dict[str, dict[str, str]]:
    """Environment of every function and task definition, by logical id."""
    found = {
        name: dict(function["Environment"]["Variables"])
        for name, function in template.of_type("Lambda::Function").items()
    }
    for name, family in template.of_type("ECS::TaskDefinition").items():
        (container,) = family["ContainerDefinitions"]
        found[name] = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    return found


def load_as_a_process(name: str, given: dict[str, str]) -> None:
    secrets = json.loads(given.get("MUSTER_SECRETS", "{}"))
    provided = {"MUSTER_KAFKA_CREDENTIALS_FILE": "/k.json"} if "KAFKA_CREDENTIALS" in secrets else {}
    settings = Settings.load({**given, "MUSTER_JOB_EVENTS_TOPIC": "arn", **provided})
    assert settings.kafka_bootstrap.startswith("sasl_ssl://"), name
    if provided:
        assert KafkaAddress.parse(settings.kafka_bootstrap).mechanism == "SCRAM-SHA-512", name


def test_absent_secrets_are_not_referenced(template: Template) -> None:
    settings = replace(template.settings, mail=replace(template.settings.mail, from_="", secret=""))
    assert "SMTP" not in environment(settings, ("CATALOG_URL", "SMTP"))["MUSTER_SECRETS"]


def test_quote_uses_the_deployed_sizes() -> None:
    settings = load(EXAMPLE)
    for quoted, cpu, memory_mib, disk_gib in (
        (TASK, settings.tasks.cpu, settings.tasks.memory_mib, settings.tasks.ephemeral_gib),
        (MACHINE, settings.machines.cpu, settings.machines.memory_mib, settings.machines.disk_gib),
        (WORKER, settings.workers.cpu, settings.workers.memory_mib, settings.workers.ephemeral_gib),
        (API, settings.api.cpu, settings.api.memory_mib, 20),
        (RELAY, settings.relay.cpu, settings.relay.memory_mib, 20),
    ):
        assert (quoted.vcpu, quoted.gb, quoted.disk_gb) == (cpu / 1024, memory_mib / 1024, disk_gib)
