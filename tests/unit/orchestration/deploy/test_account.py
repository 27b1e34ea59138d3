"""What `muster deploy check` finds in an account: moto's where it has the service, stubbed answers elsewhere."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main
from orchestration.deploy.account import checks, image, kafka, names, network, quotas, secrets
from orchestration.deploy.account.asking import AccountFinding, Clients
from orchestration.deploy.account.checks import CHECKS, check_account
from orchestration.deploy.checks import load
from orchestration.deploy.settings import DeploySettings
from schemas.errors import RetriableError
from tests.unit.orchestration.deploy.conftest import API, EXAMPLE

SETTINGS = load(EXAMPLE)
REGION = SETTINGS.region


def no_fetch(url: str) -> bytes:
    raise AssertionError(url)


def clients(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # the service varies


def stubbed(service: str, *answers: tuple[str, dict[str, Any] | str]) -> Clients:
    """A client that gives these answers in order; a text is an error code."""
    client = clients(service)
    stubber = Stubber(client)
    for operation, answer in answers:
        if isinstance(answer, str):
            stubber.add_client_error(operation, answer)
        else:
            stubber.add_response(operation, answer)
    stubber.activate()
    return lambda _: client


def faults(found: Iterator[AccountFinding], severity: str = "wrong") -> dict[str, str]:
    """Where -> what, of the findings of one severity, each of which says what to do."""
    kept = [one for one in found if one.severity == severity]
    assert all(one.advice for one in kept)
    return {one.where: one.what for one in kept}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture
def placed(aws: None) -> tuple[DeploySettings, Any]:
    """A VPC with two private subnets in two zones, behind a NAT gateway; and the client of EC2."""
    ec2 = clients("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    ]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnets[0], AllocationId=address)["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    for subnet in subnets:
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    group = ec2.create_security_group(GroupName="servers", Description="servers", VpcId=vpc)["GroupId"]
    settings = replace(
        SETTINGS,
        network=replace(SETTINGS.network, vpc=vpc, subnets=tuple(subnets), route_tables=()),
        kafka=replace(SETTINGS.kafka, security_group=group),
        database=replace(SETTINGS.database, security_group=group),
    )
    return settings, ec2


def with_network(settings: DeploySettings, **changes: Any) -> DeploySettings:
    return replace(settings, network=replace(settings.network, **changes))


def test_private_subnets_in_two_zones_behind_nat_are_right(placed: tuple[DeploySettings, Any]) -> None:
    settings, _ = placed
    assert faults(network.check_network(settings, clients)) == {}


def test_subnets_in_one_zone_or_elsewhere_are_wrong(placed: tuple[DeploySettings, Any]) -> None:
    settings, ec2 = placed
    first = settings.network.subnets[0]
    other = ec2.create_subnet(VpcId=settings.network.vpc, CidrBlock="10.0.7.0/28", AvailabilityZone=f"{REGION}a")[
        "Subnet"
    ]["SubnetId"]
    found = faults(network.check_network(with_network(settings, subnets=(first, other)), clients))
    assert found["network.subnets"] in {f"all are in the zone {REGION}a", f"{other} has 11 free addresses"}
    assert any(
        one.what == f"all are in the zone {REGION}a"
        for one in network.check_network(with_network(settings, subnets=(first, other)), clients)
    )
    away = with_network(settings, subnets=(first, "subnet-0a1b2c3d4e5f60799"))
    assert "does not exist" in faults(network.check_network(away, clients))["network.subnets"]
    groups = replace(settings, kafka=replace(settings.kafka, security_group="sg-0a1b2c3d4e5f60799"))
    assert "does not exist" in faults(network.check_network(groups, clients))["kafka.security_group"]


def test_subnets_without_a_way_out_need_the_endpoints_that_processes_call(placed: tuple[DeploySettings, Any]) -> None:
    settings, ec2 = placed
    for table in ec2.describe_route_tables()["RouteTables"]:
        for route in table["Routes"]:
            if "NatGatewayId" in route:
                ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    found = faults(network.check_network(settings, clients))["network.endpoints"]
    assert found.endswith(
        "no endpoints for s3, ecr.api, ecr.dkr, logs, secretsmanager, sns, states, scheduler, ecs, ecs-agent, "
        "ecs-telemetry, email-smtp, lambda, sts"
    )
    enough = with_network(
        settings, endpoints=tuple(network.needed_endpoints(settings)), route_tables=("rtb-0a1b2c3d4e5f60721",)
    )
    assert faults(network.check_network(enough, clients)) == {}
    assert "notify" in faults(network.check_network(enough, clients), "note"), "webhooks need NAT"
    ec2.create_vpc_endpoint(
        VpcId=settings.network.vpc,
        ServiceName=f"com.amazonaws.{REGION}.states",
        VpcEndpointType="Interface",
        SubnetIds=list(settings.network.subnets),
    )
    assert "states has an endpoint" in faults(network.check_network(enough, clients))["network.endpoints"]


def test_secrets_are_read_and_their_faults_named_but_not_shown(aws: None) -> None:
    manager = clients("secretsmanager")

    def kept(value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        return str(manager.create_secret(Name=f"s{len(text)}-{id(value)}", SecretString=text)["ARN"])

    logon = {"username": "muster", "password": "hush-hush"}
    settings = replace(
        SETTINGS,
        database=replace(SETTINGS.database, secret=kept({"username": "muster", "pass": "hush-hush"})),
        kafka=replace(SETTINGS.kafka, secret=kept(logon), secret_key="", ca_secret=kept({"certificate": "hush-hush"})),
        mail=replace(SETTINGS.mail, secret=kept("hush-hush")),
        notify=replace(SETTINGS.notify, webhook_secret=SETTINGS.notify.webhook_secret),
    )
    found = list(secrets.check_secrets(settings, clients))
    assert "hush" not in repr(found)
    wrong = {one.where: one.what.partition(" ")[2] for one in found if one.severity == "wrong"}
    assert wrong == {
        "database.secret": "has no text for password",
        "kafka.ca_secret": "has no certificates as PEM in its field certificate",
        "mail.secret": "is not JSON",
        "notify.webhook_secret": "does not exist, has no value, or is being deleted",
    }
    assert "database.ca_secret" in faults(iter(found), "note"), "the server of the catalog is not verified"
    assert [one.where for one in found if one.severity == "ok"] == ["kafka.secret"]


def test_a_secret_must_have_the_key_of_the_settings(aws: None) -> None:
    key = clients("kms").create_key()["KeyMetadata"]["Arn"]
    arn = clients("secretsmanager").create_secret(
        Name="s", SecretString='{"username": "u", "password": "p"}', KmsKeyId=key
    )["ARN"]
    settings = replace(SETTINGS, database=replace(SETTINGS.database, secret=arn))
    assert "which no role may use" in faults(secrets.check_secrets(settings, clients))["database.secret_key"]
    fits = replace(settings, database=replace(settings.database, secret_key=key))
    assert "database.secret_key" not in faults(secrets.check_secrets(fits, clients))


CLUSTER: dict[str, Any] = {
    "ClusterInfo": {
        "State": "ACTIVE",
        "Provisioned": {
            "NumberOfBrokerNodes": 3,
            "BrokerNodeGroupInfo": {"ClientSubnets": ["subnet-1"], "InstanceType": "kafka.m7g.large"},
        },
    }
}
SCRAM = {"BootstrapBrokerStringSaslScram": SETTINGS.kafka.bootstrap}
ASSOCIATED = {"SecretArnList": [SETTINGS.kafka.secret]}


@pytest.mark.parametrize(
    ("cluster", "brokers", "secrets_", "where", "what"),
    [
        (CLUSTER, SCRAM, ASSOCIATED, "", ""),
        ("NotFoundException", None, None, "kafka.cluster", "does not exist"),
        ({"ClusterInfo": {"State": "HEALING"}}, SCRAM, ASSOCIATED, "kafka.cluster", "is HEALING"),
        (CLUSTER, {"BootstrapBrokerStringTls": "b:9094"}, ASSOCIATED, "kafka.mechanism", "no listener for SCRAM"),
        (CLUSTER, SCRAM, {"SecretArnList": []}, "kafka.secret", "not associated"),
        (
            {
                "ClusterInfo": {
                    **CLUSTER["ClusterInfo"],
                    "Provisioned": {**CLUSTER["ClusterInfo"]["Provisioned"], "NumberOfBrokerNodes": 2},
                }
            },
            SCRAM,
            ASSOCIATED,
            "kafka.replication_factor",
            "has 2 brokers",
        ),
    ],
)
@pytest.mark.usefixtures("keys")
def test_msk_says_whether_it_takes_the_logon(cluster: Any, brokers: Any, secrets_: Any, where: str, what: str) -> None:
    answers = [("describe_cluster_v2", cluster)]
    answers += [("get_bootstrap_brokers", brokers), ("list_scram_secrets", secrets_)] if brokers else []
    found = faults(kafka.check_kafka(SETTINGS, stubbed("kafka", *answers)))
    assert set(found) == ({where} if where else set())
    assert what in found.get(where, "")


@pytest.mark.usefixtures("keys")
def test_brokers_elsewhere_cannot_be_asked() -> None:
    settings = replace(SETTINGS, kafka=replace(SETTINGS.kafka, cluster=""))
    assert "cannot be asked" in faults(kafka.check_kafka(settings, stubbed("kafka")), "note")["kafka.bootstrap"]


@pytest.mark.usefixtures("keys")
def test_quotas_are_held_against_what_the_stack_may_use() -> None:
    def limits(functions: int, fargate: float, machines: float | None, reserved: int | None = None) -> Clients:
        account = {"AccountLimit": {"UnreservedConcurrentExecutions": functions}}
        own = {} if not reserved else {"ReservedConcurrentExecutions": reserved}
        each: dict[str, Any] | str = "ResourceNotFoundException" if reserved is None else own
        per_service = {
            "lambda": stubbed("lambda", ("get_account_settings", account), *([("get_function_concurrency", each)] * 3))(
                "lambda"
            ),
            "service-quotas": stubbed(
                "service-quotas",
                ("get_service_quota", {"Quota": {"Value": fargate}}),
                ("get_service_quota", {"Quota": {"Value": machines}} if machines else "NoSuchResourceException"),
            )("service-quotas"),
        }
        return per_service.__getitem__

    assert (quotas.reserved_functions(SETTINGS), quotas.fargate_vcpu(SETTINGS), quotas.machine_vcpu(SETTINGS)) == (
        *(12, 42, 64),
    )
    assert list(faults(quotas.check_quotas(SETTINGS, limits(111, 500.0, 64.0)))) == ["quota of Lambda concurrency"]
    assert faults(quotas.check_quotas(SETTINGS, limits(112, 500.0, 64.0))) == {}
    assert faults(quotas.check_quotas(SETTINGS, limits(1000, 500.0, 64.0))) == {}
    # Lambda has subtracted what a deployed stack reserves.
    assert faults(quotas.check_quotas(SETTINGS, limits(97, 500.0, 64.0, reserved=5))) == {}
    assert list(faults(quotas.check_quotas(SETTINGS, limits(96, 500.0, 64.0, reserved=5)))) == [quotas.FUNCTIONS]
    assert list(faults(quotas.check_quotas(SETTINGS, limits(111, 500.0, 64.0, reserved=0)))) == [quotas.FUNCTIONS]
    few = faults(quotas.check_quotas(SETTINGS, limits(10, 24.0, 63.0)))
    assert list(few) == ["quota of Lambda concurrency", "quota of Fargate vCPU", "quota of On-Demand vCPU"]
    assert "10 functions may run at once" in few["quota of Lambda concurrency"]
    assert list(faults(quotas.check_quotas(SETTINGS, limits(1000, 500.0, None)), "note")) == ["quota of On-Demand vCPU"]


MANIFEST = json.dumps({"config": {"digest": "sha256:" + "c" * 64}})


def shown(media: str = image.OCI, manifest: str = MANIFEST) -> tuple[str, dict[str, Any]]:
    return "batch_get_image", {"images": [{"imageManifest": manifest, "imageManifestMediaType": media}]}


LAYER = ("get_download_url_for_layer", {"downloadUrl": "https://ecr.example/config"})


@pytest.mark.parametrize(
    ("answers", "architecture", "what"),
    [
        ((shown(), LAYER), "amd64", ""),
        ((shown(image.DOCKER), LAYER), "arm64", "is for arm64, but architecture is x86_64"),
        ((shown(image.LISTS[1], "{}"),), "", "is a list of images, which Lambda refuses"),
        ((("batch_get_image", {"images": []}),), "", "is not in the repository muster"),
        ((("batch_get_image", "RepositoryNotFoundException"),), "", "there is no repository muster"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_image_must_exist_be_one_and_fit_the_architecture(answers: Any, architecture: str, what: str) -> None:
    config = json.dumps({"architecture": architecture}).encode()
    found = faults(image.check_image(SETTINGS, stubbed("ecr", *answers), lambda _: config))
    assert what in found.get("image", "")
    assert bool(found) == bool(what)


def test_taken_names_and_unready_buckets_are_found(aws: None) -> None:
    s3 = clients("s3")
    place: Any = {"LocationConstraint": REGION}
    for bucket in ("acme-muster-lake", "acme-muster-inbox"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    clients("logs").create_log_group(logGroupName="/muster/relay")
    clients("ecs").create_cluster(clusterName="muster")
    found = faults(names.check_stack(SETTINGS, clients))
    assert found["name"] == "log group /muster/relay, cluster muster exist outside of a stack muster"
    assert set(found) == {"name", "buckets.inbox", "buckets.lake"}
    settings = replace(SETTINGS, buckets=replace(SETTINGS.buckets, existing=("inbox", "staging")))
    unready = list(names.check_buckets(settings, clients))
    assert [one.where for one in unready if one.severity == "wrong"] == [
        *("buckets.inbox", "buckets.inbox", "buckets.staging", "buckets.access_logs")
    ]
    assert set(faults(names.check_linked_roles(settings, clients))) == set(names.LINKED_ROLES)


@pytest.mark.parametrize(
    ("status", "severity", "what"),
    [
        ("ROLLBACK_COMPLETE", "wrong", "cannot be updated"),
        ("UPDATE_IN_PROGRESS", "wrong", "is UPDATE_IN_PROGRESS"),
        ("CREATE_COMPLETE", "ok", "is CREATE_COMPLETE"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_stack_must_be_in_a_state_that_can_be_updated(status: str, severity: str, what: str) -> None:
    stack = {"Stacks": [{"StackName": "muster", "StackStatus": status, "CreationTime": 1}]}
    first, *_ = names.check_stack(SETTINGS, stubbed("cloudformation", ("describe_stacks", stack)))
    assert (first.severity, what in first.what) == (severity, True)


@pytest.mark.parametrize(
    ("certificate", "what"),
    [
        ({"Status": "ISSUED", "DomainName": "*.acme.example"}, ""),
        ({"Status": "PENDING_VALIDATION", "DomainName": API.host}, "is PENDING_VALIDATION"),
        ({"Status": "ISSUED", "DomainName": "x.example"}, "is for x.example"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_certificate_must_be_issued_for_the_host(certificate: dict[str, str], what: str) -> None:
    acm = stubbed("acm", ("describe_certificate", {"Certificate": certificate}))
    host = replace(API, host="muster.acme.example")
    found = faults(names.check_certificate(replace(SETTINGS, api=host), acm))
    assert what in found.get("api.certificate", "")
    assert bool(found) == bool(what)


@pytest.mark.usefixtures("keys")
def test_refused_question_is_a_note_and_the_other_checks_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = {"Account": SETTINGS.account}
    services = {
        "sts": stubbed("sts", ("get_caller_identity", identity)),
        "ecr": stubbed("ecr", ("batch_get_image", "AccessDeniedException")),
        "ec2": stubbed("ec2", ("describe_subnets", "UnauthorizedOperation")),
    }
    monkeypatch.setattr("orchestration.deploy.account.checks.CHECKS", CHECKS[:1])
    found = check_account(SETTINGS, lambda name: services[name](name), no_fetch)
    assert [(one.severity, one.where, one.what) for one in found] == [
        ("ok", "account", f"credentials of {SETTINGS.account}, region {REGION}"),
        ("note", "image", "not checked: these credentials may not call BatchGetImage"),
        ("note", "network", "not checked: these credentials may not call DescribeSubnets"),
    ]


@pytest.mark.usefixtures("keys")
def test_credentials_of_another_account_end_the_check() -> None:
    sts = stubbed("sts", ("get_caller_identity", {"Account": "210987654321"}))
    (found,) = check_account(SETTINGS, sts, no_fetch)
    assert (found.severity, found.where) == ("wrong", "account")
    with pytest.raises(RetriableError, match="AWS_UNAVAILABLE"):
        list(check_account(SETTINGS, stubbed("sts", ("get_caller_identity", "ExpiredToken")), no_fetch))


@pytest.mark.parametrize(
    ("severity", "code"), [("ok", ExitCode.OK), ("note", ExitCode.OK), ("wrong", ExitCode.CHECK_FAILED)]
)
def test_command_lists_findings_and_fails_if_one_is_wrong(
    severity: Any, code: ExitCode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = AccountFinding(severity=severity, where="kafka.secret", what="is not there", advice="create it")
    answer: Callable[..., Iterator[AccountFinding]] = lambda *_: iter([finding])  # noqa: E731
    monkeypatch.setattr(checks, "check_account", answer)
    assert main(["deploy", "check", str(EXAMPLE)]) == code
    said = capsys.readouterr().out
    assert all(word in said for word in (severity, "kafka.secret", "is not there", "create it"))
    assert main(["deploy", "check", str(EXAMPLE), "--json"]) == code
    assert json.loads(capsys.readouterr().out) == {
        "ok": code == ExitCode.OK,
        "findings": [{"severity": severity, "where": "kafka.secret", "what": "is not there", "advice": "create it"}],
    }


def test_command_refuses_settings_before_it_asks_aws(tmp_path: Path) -> None:
    path = tmp_path / "deploy.toml"
    path.write_text(EXAMPLE.read_text().replace("SCRAM-SHA-512", "NTLM"))
    assert main(["deploy", "check", str(path)]) == ExitCode.USER_ERROR
