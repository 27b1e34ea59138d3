"""Other settings than the example's, synthesised too."""

import json
from dataclasses import replace

from cfnlint.api import ManualArgs, lint

from orchestration.deploy.settings import Buckets, Kafka, load
from orchestration.deploy.synthesis import synthesise
from tests.unit.deploy.conftest import EXAMPLE, Template


def test_what_exists_is_used_and_kafka_may_be_ones_own() -> None:
    example = load(EXAMPLE)
    key = "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d"
    settings = replace(
        example,
        buckets=Buckets(inbox="a-inbox", staging="a-staging", lake="a-lake", existing=("lake",), key=key),
        kafka=Kafka(bootstrap="k1:9094,k2:9094"),
        network=replace(example.network, endpoints=("states", "ecr.api")),
        architecture="arm64",
        setup_image=example.image.replace("/muster@", "/muster-next@"),
        logs=replace(example.logs, tracing=False),
    )
    template = Template(settings=settings, body=synthesise(settings))
    assert set(template.of_type("S3::Bucket")) == {"InboxBucket", "StagingBucket"}
    assert template.of_type("KMS::Key") == {}
    assert template["JobEventsTopic"]["KmsMasterKeyId"] == key
    mapping = template["JobEventsMapping"]
    assert mapping["SelfManagedEventSource"] == {"Endpoints": {"KafkaBootstrapServers": ["k1:9094", "k2:9094"]}}
    assert {access["Type"] for access in mapping["SourceAccessConfigurations"]} == {"VPC_SUBNET", "VPC_SECURITY_GROUP"}
    variables = template["ImportToKafkaFunction"]["Environment"]["Variables"]
    assert variables["MUSTER_KAFKA_BOOTSTRAP"] == "ssl://k1:9094,k2:9094"
    assert "KAFKA_CREDENTIALS" not in variables["MUSTER_SECRETS"]
    (setup,) = template["SetupDefinition"]["ContainerDefinitions"]
    (worker,) = template["WorkerDefinition"]["ContainerDefinitions"]
    assert (setup["Image"], worker["Image"]) == (settings.setup_image, settings.image)
    (pull,) = [s for s in template.statements("ExecutionRole") if "ecr:BatchGetImage" in s["Action"]]
    assert [arn.rpartition("/")[2] for arn in pull["Resource"]] == ["muster", "muster-next"]
    assert template["ImportToKafkaFunction"]["Architectures"] == ["arm64"]
    assert "arm64" in template["MachineTemplate"]["LaunchTemplateData"]["ImageId"]
    assert template["StatesEndpoint"]["ServiceName"] == "com.amazonaws.eu-central-1.states"
    assert template["EcrApiEndpoint"]["PrivateDnsEnabled"] is True
    assert "xray:" not in json.dumps(template.body)
    assert [str(found) for found in lint(json.dumps(template.body), ManualArgs(regions=[settings.region]))] == []
