"""Promises of the template: storage, containers, capacity, events, alarms, and what works before setup."""

import json
from typing import Any

import pytest

from orchestration.platform.settings import Settings
from orchestration.workflow import timers
from orchestration.workflow.resources import CONTAINER, TASK_STOP_TIMEOUT_S
from schemas.layout import checkpoint_prefix
from schemas.metrics import (
    MISSING_TASKS,
    UNCONTROLLED_WORK,
    UNDECODABLE_JOB_EVENTS,
    UNSERVED_MESSAGES,
    cloudwatch_namespace,
)
from segmentation.scaling import Scaled
from tests.unit.orchestration.deploy.conftest import Template

BUCKETS = ("InboxBucket", "StagingBucket", "LakeBucket")


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_are_encrypted_private_tls_only_and_retained(template: Template, bucket: str) -> None:
    (rule,) = template[bucket]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
    }
    assert set(template[bucket]["PublicAccessBlockConfiguration"].values()) == {True}
    (tls,) = template[f"{bucket}Policy"]["PolicyDocument"]["Statement"]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    resource = template.body["Resources"][bucket]
    # A failed first deployment must leave no bucket behind, or there could be no second.
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    rules = {rule["Id"]: rule for rule in template[bucket]["LifecycleConfiguration"]["Rules"]}
    assert rules["abort-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_only_the_inbox_notifies_eventbridge_and_keeps_versions(template: Template) -> None:
    for bucket in BUCKETS:
        assert ("NotificationConfiguration" in template[bucket]) == (bucket == "InboxBucket")
        assert ("VersioningConfiguration" in template[bucket]) == (bucket == "InboxBucket")
    assert template["InboxBucket"]["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }


def test_staged_data_expires_but_segment_checkpoints_do_not(template: Template) -> None:
    from orchestration.deploy.stack.storage import EXPIRING

    rules = template["StagingBucket"]["LifecycleConfiguration"]["Rules"]
    prefixes = [rule["Prefix"] for rule in rules if "ExpirationInDays" in rule]
    assert prefixes == list(EXPIRING)
    assert not [prefix for prefix in prefixes if checkpoint_prefix(0).startswith(prefix)]  # type: ignore[arg-type]  # a number
    assert not [
        rule for rule in template["LakeBucket"]["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule
    ]


def test_containers_run_unprivileged_on_a_read_only_root(template: Template) -> None:
    for name, family in template.of_type("ECS::TaskDefinition").items():
        (container,) = family["ContainerDefinitions"]
        assert container["Image"] == template.settings.image, name
        assert container["Name"] == CONTAINER, name
        assert container["User"] == "10001", name
        assert container["ReadonlyRootFilesystem"] is True, name
        assert container["StopTimeout"] == TASK_STOP_TIMEOUT_S, name
        assert container["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": True}, name
        assert [mount["ContainerPath"] for mount in container["MountPoints"]] == ["/var/lib/muster", "/tmp"], name
        assert family["NetworkMode"] == "awsvpc", name


def test_large_tasks_run_on_machines_and_others_on_fargate(template: Template) -> None:
    assert template["TaskDefinition"]["RequiresCompatibilities"] == ["FARGATE"]
    assert template["MachineTaskDefinition"]["RequiresCompatibilities"] == ["EC2"]
    assert int(template["MachineTaskDefinition"]["Memory"]) > int(template["TaskDefinition"]["Memory"])


def test_machines_scale_with_tasks(template: Template) -> None:
    group, capacity = template["MachineGroup"], template["MachineCapacity"]["AutoScalingGroupProvider"]
    assert (group["MinSize"], group["MaxSize"]) == ("0", "4")
    assert "DesiredCapacity" not in group, "an update of the stack would end machines at work"
    assert group["NewInstancesProtectedFromScaleIn"] is True
    assert capacity["ManagedTerminationProtection"] == "ENABLED"
    assert capacity["ManagedScaling"]["Status"] == "ENABLED"
    assert {"Ref": "MachineCapacity"} in template["ClusterCapacity"]["CapacityProviders"]
    assert (
        template["ImportAudience"]["DefinitionSubstitutions"].get("MachineCapacity", "muster-machines")
        == (template["MachineCapacity"]["Name"])
    )


def test_a_machine_has_an_encrypted_disk_and_gives_no_container_its_credentials(template: Template) -> None:
    data = template["MachineTemplate"]["LaunchTemplateData"]
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"] == {
        "DeleteOnTermination": True,
        "Encrypted": True,
        "Throughput": 500,
        "VolumeSize": 1000,
        "VolumeType": "gp3",
    }
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 1,
        "HttpTokens": "required",
    }


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("Worker", ["worker"]),
        ("SegmentWorker", ["segment-worker"]),
        ("Relay", ["serve", "relay"]),
        ("Feeder", ["serve", "feeder"]),
    ],
)
def test_a_service_is_checked_rolls_back_and_runs_only_after_setup(
    template: Template, service: str, command: list[str]
) -> None:
    made = template[f"{service}Service"]
    # CloudFormation leaves a count that is not given as it is; it would create a service with one task.
    assert made["DesiredCount"] == {"Fn::If": ["Running", {"Ref": "AWS::NoValue"}, 0]}
    assert made["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert made["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    assert made["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    (container,) = template[f"{service}Definition"]["ContainerDefinitions"]
    assert container["Command"] == command
    assert container["HealthCheck"]["Command"][-2:] == ["health", command[-1]]


def test_services_start_only_on_request(template: Template) -> None:
    assert template.body["Parameters"]["Run"]["Default"] == "no"
    assert template["InboxRule"]["State"] == {"Fn::If": ["Running", "ENABLED", "DISABLED"]}
    assert template["JobEventsMapping"]["Enabled"] == {"Fn::If": ["Running", True, False]}
    for name, alarm in template.of_type("CloudWatch::Alarm").items():
        assert alarm["ActionsEnabled"] == {"Fn::If": ["Running", True, False]}, name


def test_job_events_go_from_kafka_through_the_function_to_the_topic(template: Template) -> None:
    mapping = template["JobEventsMapping"]
    assert mapping["Topics"] == ["muster.job-events"]
    assert mapping["EventSourceArn"] == template.settings.kafka.cluster
    assert mapping["FunctionName"] == {"Ref": "JobEventsFunction"}
    assert mapping["SourceAccessConfigurations"] == [
        {"Type": "SASL_SCRAM_512_AUTH", "URI": template.settings.kafka.secret}
    ]
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["JobEventsDeadLetters", "Arn"]}
    given = template["JobEventsFunction"]["Environment"]["Variables"]
    assert given["MUSTER_JOB_EVENTS_TOPIC"] == {"Ref": "JobEventsTopic"}
    publishing = [s for s in template.statements("JobEventsFunctionRole") if s["Action"] == ["sns:Publish"]]
    assert [s["Resource"] for s in publishing] == [[{"Ref": "JobEventsTopic"}]]


def test_topics_and_queues_are_encrypted(template: Template) -> None:
    key = {"Fn::GetAtt": ["Key", "Arn"]}
    for made in (*template.of_type("SNS::Topic").values(), *template.of_type("SQS::Queue").values()):
        assert made["KmsMasterKeyId"] == key


def test_every_log_group_is_encrypted_and_ends(template: Template) -> None:
    groups = template.of_type("Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {30}
    assert {json.dumps(group["KmsKeyId"]) for group in groups.values()} == {json.dumps({"Fn::GetAtt": ["Key", "Arn"]})}
    named = {group["LogGroupName"] for group in groups.values()}
    for function in template.of_type("Lambda::Function").values():
        assert f"/aws/lambda/{function['FunctionName']}" in named, "Lambda would make one that has no end"
    for family in template.of_type("ECS::TaskDefinition").values():
        (container,) = family["ContainerDefinitions"]
        assert container["LogConfiguration"]["Options"]["awslogs-group"] in named


def test_every_silent_failure_has_an_alarm(template: Template) -> None:
    alarms: dict[str, Any] = template.of_type("CloudWatch::Alarm")
    assert set(alarms) == {
        *("ImportAudienceFailedAlarm", "ExportAudienceFailedAlarm"),
        *("ImportAudienceTimedOutAlarm", "ExportAudienceTimedOutAlarm"),
        *("ImportAudienceThrottledAlarm", "ExportAudienceThrottledAlarm", "DatabaseConnectionsAlarm"),
        *(
            "StuckJobAlarm",
            "ScheduleOverdueAlarm",
            "FeedStalledAlarm",
            "LagAlarm",
            "DeadLettersAlarm",
            "SegmentMismatchAlarm",
        ),
        *("WorkersAlarm", "ControlPlaneAlarm", "MissingTasksAlarm", "WatcherAlarm", "UnavailableAlarm"),
        *("InboxDeadLettersAlarm", "JobEventsDeadLettersAlarm", "JobEventsStalledAlarm", "UndecodableEventsAlarm"),
    }
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "OperatorsTopic"}], name
    silent = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"}
    assert silent == {"WatcherAlarm"}, "everybody else may have left"
    waiting = alarms["WorkersAlarm"]
    assert (waiting["MetricName"], waiting["Statistic"], waiting["Period"], waiting["EvaluationPeriods"]) == (
        *("UnservedMessages", "Minimum", 60, 5),
    )
    assert alarms["DatabaseConnectionsAlarm"]["Dimensions"][0] == {"Name": "DBClusterIdentifier", "Value": "muster"}


def test_nothing_runs_always_without_segments_or_service(template: Template) -> None:
    for name, service in template.of_type("ECS::Service").items():
        assert service["DesiredCount"] == {"Fn::If": ["Running", {"Ref": "AWS::NoValue"}, 0]}, name
    for name, family in template.of_type("ECS::TaskDefinition").items():
        (container,) = family["ContainerDefinitions"]
        given = {one["Name"]: one["Value"] for one in container["Environment"]}
        fewest = [given[f"MUSTER_{setting}"] for setting in ("MIN_WORKERS", "MIN_SEGMENT_WORKERS", "IDLE_MINUTES")]
        assert fewest == ["0", "0", "10"], name


def test_functions_are_called_by_time_and_after_each_deployment(template: Template) -> None:
    rules = {name: rule for name, rule in template.of_type("Events::Rule").items() if name != "InboxRule"}
    called = {
        rule["Name"]: (rule["Targets"][0]["Arn"]["Fn::GetAtt"][0], rule["Targets"][0]["Input"])
        for rule in rules.values()
    }
    assert called == {
        "muster-watch": ("WatchWorkersFunction", "{}"),
        "muster-ensure": ("EnsureWorkersFunction", "{}"),
        "muster-housekeeping": ("EnsureWorkersFunction", '{"housekeeping":true}'),
        "muster-deployed": ("EnsureWorkersFunction", "{}"),
    }
    allowed = {
        one["SourceArn"]["Fn::GetAtt"][0]: one["FunctionName"]
        for one in template.of_type("Lambda::Permission").values()
    }
    for name, rule in rules.items():
        assert rule["State"] == {"Fn::If": ["Running", "ENABLED", "DISABLED"]}, name
        assert allowed[name] == {"Ref": rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]}, name
    assert template["DeployedRule"]["EventPattern"]["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]


def test_the_next_call_has_its_target_and_waits_for_its_time(template: Template) -> None:
    call = template["NextCall"]
    settings = Settings(machine_prefix="muster-")
    assert (call["Name"], call["State"]) == (timers.resource(settings, timers.NEXT_CALL), "DISABLED")
    assert call["Target"]["Arn"] == {"Fn::GetAtt": ["EnsureWorkersFunction", "Arn"]}
    (calls,) = template.statements("SchedulerRole")
    function = template["EnsureWorkersFunction"]["FunctionName"]
    assert calls["Resource"] == [template.settings.arn("lambda", f"function:{function}")]
    for role in ("RegisterFunctionRole", "EnsureFunctionRole", "RelayRole"):
        allowed = {action: s for s in template.statements(role) for action in s["Action"]}
        assert allowed["scheduler:UpdateSchedule"]["Resource"][0].endswith(f":schedule/default/{call['Name']}"), role
        assert allowed["iam:PassRole"]["Resource"] == [call["Target"]["RoleArn"]], role


def test_counts_are_set_of_these_services_alone_and_not_at_rest(template: Template) -> None:
    names = {service["ServiceName"] for service in template.of_type("ECS::Service").values()}
    prefix = template["EnsureWorkersFunction"]["Environment"]["Variables"]["MUSTER_MACHINE_PREFIX"]
    assert names == set(Scaled)
    assert template["Cluster"]["ClusterName"] == Settings(machine_prefix=prefix).deployment
    for role in ("RegisterFunctionRole", "EnsureFunctionRole", "RelayRole"):
        (sets,) = [s for s in template.statements(role) if "ecs:UpdateService" in s["Action"]]
        cluster = template["Cluster"]["ClusterName"]
        assert set(sets["Resource"]) == {template.settings.arn("ecs", f"service/{cluster}/{name}") for name in names}, (
            role
        )
        assert sets["Condition"] == {"Bool": {"aws:SecureTransport": {"Fn::If": ["Running", "true", "false"]}}}, role


def test_every_alarm_metric_exists(template: Template) -> None:
    made = {
        (transformation["MetricNamespace"], transformation["MetricName"])
        for filter_ in template.of_type("Logs::MetricFilter").values()
        for transformation in filter_["MetricTransformations"]
    }
    # Written by the function in the Embedded Metric Format, under the name of its own deployment.
    prefix = template["JobEventsFunction"]["Environment"]["Variables"]["MUSTER_MACHINE_PREFIX"]
    of_functions = (UNDECODABLE_JOB_EVENTS, UNSERVED_MESSAGES, UNCONTROLLED_WORK, MISSING_TASKS)
    made |= {(cloudwatch_namespace(prefix.removesuffix("-")), metric) for metric in of_functions}
    for name, alarm in template.of_type("CloudWatch::Alarm").items():
        known = alarm["Namespace"] in {"AWS/States", "AWS/SQS", "AWS/RDS"} or (
            (alarm["Namespace"], alarm["MetricName"]) in made
        )
        assert known, name
        # Another deployment in the account must not set off this one's alarms.
        assert alarm["Namespace"].startswith("AWS/") or alarm["Namespace"] == "Muster/muster", name


def test_network_rules_admit_processes_to_kafka_and_database(template: Template) -> None:
    egress = template["ClientsSecurityGroup"]["SecurityGroupEgress"]
    assert {(rule["FromPort"], rule["Description"]) for rule in egress} == {
        (443, "HTTPS"),
        (587, "SMTP"),
        (5432, "PostgreSQL"),
        (9096, "Kafka"),
    }
    assert "SecurityGroupIngress" not in template["ClientsSecurityGroup"]
    for name, group in template.of_type("EC2::SecurityGroup").items():
        assert group["SecurityGroupEgress"], f"{name}: EC2 lets a group without rules send everywhere"
    assert template["KafkaIngress9096"]["GroupId"] == template.settings.kafka.security_group
    assert template["PostgreSQLIngress"]["GroupId"] == template.settings.database.security_group


def test_the_template_fits_cloudformation_and_has_no_assets(template: Template) -> None:
    assert len(json.dumps(template.body)) < 1_000_000
    assert len(template.body["Resources"]) < 500
    assert "cdk" not in json.dumps(template.body).lower(), "an account need not be bootstrapped"


@pytest.mark.parametrize("function", ["VerifyFileFunction", "ImportToKafkaFunction"])
def test_memory_bomb_ends_the_child_before_the_function(template: Template, function: str) -> None:
    properties = template[function]
    allowed = int(properties["Environment"]["Variables"]["MUSTER_PARSE_MEMORY_BYTES"])
    assert 0 < allowed <= properties["MemorySize"] * 2**20 // 2
