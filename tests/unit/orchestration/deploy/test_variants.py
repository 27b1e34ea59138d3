"""Synthesis with settings other than the example's."""

import json
from dataclasses import replace

from orchestration.api.server import hosts_of, port_of
from orchestration.deploy.checks import check, load
from orchestration.deploy.settings import Buckets, Kafka, Shared
from orchestration.deploy.synthesis import synthesise
from orchestration.platform.settings import Settings
from orchestration.platform.sizes import Service
from schemas.kafka_address import KafkaAddress
from tests.unit.orchestration.deploy.conftest import API, EXAMPLE, Template
from tests.unit.orchestration.deploy.test_workflow import environments

CA = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:muster-ca-AbCdEf"
PARTNER_KEY = "arn:aws:kms:eu-central-1:210987654321:key/0f0f0f0f"
MAIL_KEY = "arn:aws:kms:eu-central-1:123456789012:key/0e0e0e0e"


def test_existing_resources_and_external_kafka_are_used() -> None:
    from cfnlint.api import ManualArgs, lint

    example = load(EXAMPLE)
    key = "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d"
    buckets = Buckets(inbox="a-inbox", staging="a-staging", lake="a-lake", existing=("lake",), key=key)
    settings = replace(
        example,
        buckets=replace(buckets, inbox_prefix="incoming/"),
        kafka=Kafka(bootstrap="k1:9094,k2:9094", ca_secret=CA),
        network=replace(example.network, endpoints=("states", "ecr.api", "ecs-agent", "email-smtp")),
        shared=Shared(imports=("theirs",), exports=("partner",), keys=(PARTNER_KEY,)),
        mail=replace(example.mail, secret_key=MAIL_KEY),
        notify=replace(example.notify, webhook_secret_key=MAIL_KEY),
        architecture="arm64",
        setup_image=example.image.replace("/muster@", "/muster-next@"),
        logs=replace(example.logs, tracing=False),
        api=API,
    )
    assert list(check(settings)) == []
    template = Template(settings=settings, body=synthesise(settings))
    assert set(template.of_type("S3::Bucket")) == {"InboxBucket", "StagingBucket"}
    assert template.of_type("KMS::Key") == {}
    assert template["JobEventsTopic"]["KmsMasterKeyId"] == key
    mapping = template["JobEventsMapping"]
    assert mapping["SelfManagedEventSource"] == {"Endpoints": {"KafkaBootstrapServers": ["k1:9094", "k2:9094"]}}
    assert {access["Type"] for access in mapping["SourceAccessConfigurations"]} == {
        *("VPC_SUBNET", "VPC_SECURITY_GROUP", "SERVER_ROOT_CA_CERTIFICATE")
    }
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
    assert template["EcsAgentEndpoint"]["ServiceName"] == "com.amazonaws.eu-central-1.ecs-agent"
    assert template["MailIngress"]["FromPort"] == settings.mail.port, "mail goes to its endpoint by another port"
    _holds_shared_buckets(template)
    _has_a_service(template)
    assert template["InboxRule"]["EventPattern"]["detail"]["object"] == {"key": [{"prefix": "incoming/"}]}
    assert any("arn:aws:s3:::a-inbox/incoming/*" in s["Resource"] for s in template.statements("FilesFunctionRole"))
    for secret in (settings.mail.secret, settings.notify.webhook_secret):
        assert any(secret in s["Resource"] for s in template.statements("RelayRole"))
    assert any(s["Action"] == ["kms:Decrypt"] and MAIL_KEY in s["Resource"] for s in template.statements("RelayRole"))
    assert "xray:" not in json.dumps(template.body)
    errors, slow = template["ApiErrorsAlarm"], template["ApiSlowAlarm"]
    balancer = [{"Name": "LoadBalancer", "Value": {"Fn::GetAtt": ["ApiBalancer", "LoadBalancerFullName"]}}]
    assert [one["MetricStat"]["Metric"]["Dimensions"] for one in errors["Metrics"][:-1]] == [balancer] * 3
    assert (slow["Dimensions"], slow["ExtendedStatistic"]) == (balancer, "p99")
    assert [str(found) for found in lint(json.dumps(template.body), ManualArgs(regions=[settings.region]))] == []


def _holds_shared_buckets(template: Template) -> None:
    """Check who may read and write the shared buckets, and use their key."""

    def allowed(role: str, action: str) -> list[str]:
        statements = [s for s in template.statements(role) if s["Effect"] == "Allow" and action in s["Action"]]
        return [resource for statement in statements for resource in statement["Resource"] if isinstance(resource, str)]

    for role in ("RegisterFunctionRole", "FilesFunctionRole", "TaskRole", "RelayRole"):
        assert "arn:aws:s3:::theirs/*" in allowed(role, "s3:GetObject"), role
    for role in ("ExportsFunctionRole", "ExportTaskRole", "RelayRole"):
        assert "arn:aws:s3:::partner/*" in allowed(role, "s3:PutObject"), role
    for role in (
        "RegisterFunctionRole",
        "FilesFunctionRole",
        "ExportsFunctionRole",
        "TaskRole",
        "ExportTaskRole",
        "RelayRole",
    ):
        assert PARTNER_KEY in allowed(role, "kms:GenerateDataKey"), role
    for role in ("WorkerRole", "VersionsFunctionRole"):
        assert PARTNER_KEY not in allowed(role, "kms:GenerateDataKey"), role


def _has_a_service(template: Template) -> None:
    """Reached by its clients over TLS alone, known by its name, able to write nothing but uploads."""
    balancer, listener = template["ApiBalancer"], template["ApiListener"]
    assert (balancer["Scheme"], listener["Protocol"], listener["Port"]) == ("internal", "HTTPS", 443)
    assert listener["Certificates"] == [{"CertificateArn": API.certificate}]
    for name, one in template.of_type("EC2::SecurityGroup").items():
        allowed = {rule["CidrIp"] for rule in one["SecurityGroupEgress"] if rule["IpProtocol"] == "-1"}
        assert allowed == (set() if name == "ClientsSecurityGroup" else {"127.0.0.1/32"}), name
    group = template["ApiBalancerSecurityGroup"]
    assert [(rule["CidrIp"], rule["FromPort"]) for rule in group["SecurityGroupIngress"]] == [("10.0.0.0/8", 443)]
    assert template["ApiIngress"]["SourceSecurityGroupId"] == {"Fn::GetAtt": ["ApiBalancerSecurityGroup", "GroupId"]}
    service, (container,) = template["ApiService"], template["ApiDefinition"]["ContainerDefinitions"]
    assert (template["ApiDefinition"]["Cpu"], template["ApiDefinition"]["Memory"]) == ("1024", "6144")
    assert service["DesiredCount"] == {"Fn::If": ["Running", 1, 0]}
    assert service["LoadBalancers"][0]["TargetGroupArn"] == {"Ref": "ApiTargets"}
    assert container["HealthCheck"]["Command"][-2:] == ["health", "api"]
    assert container["PortMappings"] == [{"ContainerPort": template["ApiTargets"]["Port"]}]
    given = {one["Name"].removeprefix("MUSTER_").lower(): one["Value"] for one in container["Environment"]}
    settings = Settings(**{name: given[name] for name in ("api_url", "api_public_url", "listen_host")})
    assert hosts_of(settings) >= {API.host, "127.0.0.1"}
    assert (port_of(settings), settings.listen_host) == (template["ApiTargets"]["Port"], "0.0.0.0")
    attributes = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
    assert float(given["api_keep_alive_s"]) > float(attributes["idle_timeout.timeout_seconds"])
    assert json.loads(given["secrets"]).keys() == {"CATALOG_URL", "KAFKA_CA", "OIDC_CLIENT_SECRET"}
    assert given["webhook_secret_holder"], "without it the service would warn that no webhooks are sent"
    statements = template.statements("ApiRole")
    writes = [s["Resource"] for s in statements if {"s3:PutObject", "s3:DeleteObject"} & set(s["Action"])]
    assert writes == [["arn:aws:s3:::a-staging/uploads/*"]]
    assert not [s for s in statements if "states:SendTaskSuccess" in s["Action"]]
    (cors,) = template["StagingBucket"]["CorsConfiguration"]["CorsRules"]
    assert (cors["AllowedOrigins"], cors["AllowedMethods"]) == ([f"https://{API.host}"], ["GET", "PUT"])
    assert "CorsConfiguration" not in template["InboxBucket"]


def test_roles_log_on_to_msk_counts_are_fixed_and_private_authorities_are_trusted() -> None:
    from cfnlint.api import ManualArgs, lint

    example = load(EXAMPLE)
    kafka = replace(example.kafka, mechanism="AWS_MSK_IAM", secret="", secret_key="", ca_secret=CA)
    settings = replace(
        example,
        kafka=kafka,
        database=replace(example.database, ca_secret=CA),
        api=API,
        workers=Service(count=3, min=3),
        segment_workers=Service(count=0),
    )
    assert list(check(settings)) == []
    template = Template(settings=settings, body=synthesise(settings))
    assert "SourceAccessConfigurations" not in template["JobEventsMapping"], "the pollers log on with the role"
    counts = {"WorkerService": 3, "SegmentWorkerService": 0, "RelayService": 1, "ApiService": 1}
    assert {name: template[name]["DesiredCount"] for name in counts} == {
        name: {"Fn::If": ["Running", count, 0]} for name, count in counts.items()
    }
    assert set(template.of_type("Events::Rule")) == {"InboxRule"}, "nobody has to start workers"
    assert "ecs:UpdateService" not in json.dumps(template.body)
    alarms = template.of_type("CloudWatch::Alarm")
    assert (alarms["WorkersAlarm"]["MetricName"], alarms["UnavailableAlarm"]["TreatMissingData"]) == (
        *("muster_workers", "breaching"),
    )
    cluster = kafka.cluster
    topics = cluster.replace(":cluster/", ":topic/")

    def allowed(role: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for statement in template.statements(role):
            for action in statement["Action"]:
                if action.startswith("kafka-cluster:"):
                    found.setdefault(action.partition(":")[2], set()).update(statement["Resource"])
        return found

    for role in ("WorkerRole", "SegmentWorkerRole", "RelayRole", "ApiRole", "TaskRole", "FilesFunctionRole"):
        assert allowed(role)["Connect"] == {cluster}, role
        assert allowed(role)["WriteData"] == {f"{topics}/muster.*"}, role
        assert allowed(role)["AlterGroup"] == {f"{cluster.replace(':cluster/', ':group/')}/muster-*"}, role
    for role in ("ExportTaskRole", "ExportsFunctionRole"):
        assert allowed(role)["WriteData"] == {f"{topics}/*", f"{topics}/muster.*"}, role
    assert "CreateTopic" in allowed("SetupRole")
    assert "CreateTopic" not in allowed("RelayRole")
    assert "WriteData" not in allowed("JobEventsFunctionRole")
    assert allowed("RecordFunctionRole") == {}
    for name, variables in environments(template).items():
        readable = json.loads(variables.get("MUSTER_SECRETS", "{}"))
        assert ("CATALOG_CA" in readable) == ("CATALOG_URL" in readable), name
        address = KafkaAddress.parse(variables["MUSTER_KAFKA_BOOTSTRAP"])
        assert (address.mechanism, address.region) == ("AWS_MSK_IAM", "eu-central-1"), name
    assert json.loads(environments(template)["WorkerDefinition"]["MUSTER_SECRETS"])["KAFKA_CA"] == CA
    assert [str(found) for found in lint(json.dumps(template.body), ManualArgs(regions=[settings.region]))] == []
