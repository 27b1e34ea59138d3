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


@pytest.mark.parametrize("name", ["import_audience", "export_audience"])
def test_a_definition_is_the_file_byte_for_byte(template: Template, name: str) -> None:
    machine = "".join(word.capitalize() for word in name.split("_"))
    file = Path(WORKFLOW / f"{name}.asl.json").read_bytes()
    assert template[machine]["DefinitionString"].encode() == file


def test_every_substitution_has_a_value_and_none_is_left_over(template: Template) -> None:
    for machine in resources.machine_specs():
        named = set(resources.SUBSTITUTION.findall(machine.definition))
        assert set(template[machine.name]["DefinitionSubstitutions"]) == named


def test_every_function_is_one_of_the_one_image_with_its_handler_as_command(template: Template) -> None:
    made = template.of_type("Lambda::Function")
    specs = (*resources.function_specs(), resources.EVENT_FUNCTION)
    assert set(made) == {f"{spec.name}Function" for spec in specs}
    for spec in specs:
        function = made[f"{spec.name}Function"]
        assert function["Code"] == {"ImageUri": template.settings.image}
        assert function["ImageConfig"] == {"Command": ["lambda", spec.handler]}
        assert (function["Timeout"], function["MemorySize"]) == (spec.timeout_s, spec.memory_mb)
        assert function["FunctionName"] == resources.PREFIX + spec.name


def test_every_function_has_one_role_and_a_new_one_is_refused_until_it_has() -> None:
    prepare()
    from orchestration.deploy.stack.functions import GROUPS, group_of

    grouped = [name for group in GROUPS for name in group.functions]
    assert sorted(grouped) == sorted(spec.name for spec in resources.function_specs())
    with pytest.raises(FatalError, match="Unheard"):
        group_of("Unheard")


def test_names_of_a_deployment_called_muster_are_those_of_a_local_stack(template: Template) -> None:
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


def test_the_environment_is_settings_of_the_product_and_says_what_the_deployment_says(template: Template) -> None:
    given = environment(template.settings, secrets_of(template.settings))
    known = {ENV_PREFIX + field.name.upper() for field in fields(Settings)}
    extra = {name.removeprefix(ENV_PREFIX) for name in given.keys() - known}
    assert extra <= NOT_SETTINGS
    loaded = Settings.load({**given, "MUSTER_KAFKA_CREDENTIALS_FILE": "/run/kafka.json"})
    assert loaded.lake_bucket == "acme-muster-lake"
    assert loaded.partitions == 8
    assert loaded.s3_endpoint == loaded.engine_url == ""


def test_operators_are_read_as_they_were_given() -> None:
    example = load(EXAMPLE)
    settings = replace(
        example,
        mail=replace(example.mail, operators=("a@example.com", "b@example.com")),
        notify=replace(example.notify, operator_webhooks=("https://example.com/a,b", "https://example.com/c")),
    )
    given = environment(settings, ())
    told = operators(given["MUSTER_OPERATOR_EMAILS"], given["MUSTER_OPERATOR_WEBHOOKS"])
    assert [recipient.address for recipient in told] == [
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


def test_every_process_can_read_its_settings_with_the_secrets_that_it_may_see(template: Template) -> None:
    for name, function in template.of_type("Lambda::Function").items():
        load_as_a_process(name, function["Environment"]["Variables"])
    for name, family in template.of_type("ECS::TaskDefinition").items():
        (container,) = family["ContainerDefinitions"]
        load_as_a_process(name, {entry["Name"]: entry["Value"] for entry in container["Environment"]})


def load_as_a_process(name: str, given: dict[str, str]) -> None:
    secrets = json.loads(given.get("MUSTER_SECRETS", "{}"))
    provided = {"MUSTER_KAFKA_CREDENTIALS_FILE": "/k.json"} if "KAFKA_CREDENTIALS" in secrets else {}
    settings = Settings.load({**given, "MUSTER_JOB_EVENTS_TOPIC": "arn", **provided})
    assert settings.kafka_bootstrap.startswith("sasl_ssl://"), name
    if provided:
        assert KafkaAddress.parse(settings.kafka_bootstrap).mechanism == "SCRAM-SHA-512", name


def test_a_secret_that_the_deployment_does_not_have_is_not_named(template: Template) -> None:
    settings = replace(template.settings, mail=replace(template.settings.mail, from_="", secret=""))
    assert "SMTP" not in environment(settings, ("CATALOG_URL", "SMTP"))["MUSTER_SECRETS"]


def test_a_quote_reckons_with_the_sizes_that_are_deployed() -> None:
    settings = load(EXAMPLE)
    for quoted, cpu, memory_mib, disk_gib in (
        (TASK, settings.tasks.cpu, settings.tasks.memory_mib, settings.tasks.ephemeral_gib),
        (MACHINE, settings.machines.cpu, settings.machines.memory_mib, settings.machines.disk_gib),
        (WORKER, settings.workers.cpu, settings.workers.memory_mib, settings.workers.ephemeral_gib),
        (API, settings.api.cpu, settings.api.memory_mib, 20),
        (RELAY, settings.relay.cpu, settings.relay.memory_mib, 20),
    ):
        assert (quoted.vcpu, quoted.gb, quoted.disk_gb) == (cpu / 1024, memory_mib / 1024, disk_gib)
