"""Impossible settings: refused by name, all of them at once."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.deploy import regions
from orchestration.deploy.checks import load
from orchestration.deploy.environment import environment
from orchestration.deploy.names import LIMITS, names_of
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from tests.unit.orchestration.deploy.conftest import API, EXAMPLE

TEXT = EXAMPLE.read_text(encoding="utf-8")


def refused(tmp_path: Path, text: str) -> UserError:
    path = tmp_path / "deploy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load(path)
    assert raised.value.code == "BAD_DEPLOYMENT"
    return raised.value


def changed(old: str, new: str) -> str:
    assert len(re.findall(old, TEXT, re.MULTILINE)) == 1, old
    return re.sub(old, lambda _: new, TEXT, flags=re.MULTILINE)


CASES = {
    # A change to the example, the setting that is at fault, and a word of the error.
    "no digest": (
        r'^image = "(.*)@sha256:.*"$',
        'image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/muster:1"',
        "image",
        "digest",
    ),
    "image of another region": (r"ecr\.eu-central-1", "ecr.eu-west-1", "image", "its own region"),
    "image of another registry": (r'^image = ".*/muster@', 'image = "ghcr.io/acme/muster@', "image", "ACCOUNT.dkr.ecr"),
    "setup image without digest": (r"^\[network\]", 'setup_image = "muster:2"\n[network]', "setup_image", "digest"),
    "account": (r'^account = ".*"', 'account = "1234"', "account", "twelve digits"),
    "region in words": (r'^region = ".*"', 'region = "Frankfurt"', "region", "not the name of a region"),
    "unknown region": (r'^region = ".*"', 'region = "eu-nowhere-1"', "region", "not known here"),
    "region of China": (
        r'^region = ".*"',
        'region = "cn-north-1"\nregions_unchecked = true',
        "region",
        "of the partition aws",
    ),
    "service without certificate": (
        r"^\[network\]",
        '[api]\nhost = "a.example"\nclients = ["10.0.0.0/8"]\n[network]',
        "api.certificate",
        "TLS",
    ),
    "service for everybody": (
        r"^\[network\]",
        f'[api]\nhost = "a.example"\ncertificate = "{API.certificate}"\nclients = ["0.0.0.0/0"]\n[network]',
        "api.clients",
        "admits everyone",
    ),
    "service by no name": (
        r"^\[network\]",
        f'[api]\nhost = "https://a.example"\ncertificate = "{API.certificate}"\nclients = ["10.1.0.0/16"]\n[network]',
        "api.host",
        "not a host name",
    ),
    "clients of no service": (r"^\[network\]", '[api]\nclients = ["10.0.0.0/8"]\n[network]', "api.host", "missing"),
    "provider that is none": (
        r"^\[network\]",
        f"""[api]\nhost = "a.example"\ncertificate = "{API.certificate}"\nclients = ["10.0.0.0/8"]
oidc_issuer = "login"\n[network]""",
        "api.oidc_issuer",
        "is not like https",
    ),
    "one subnet": (
        r"^subnets = .*",
        'subnets = ["subnet-0a1b2c3d4e5f60711"]',
        "network.subnets",
        "two availability zones",
    ),
    "one subnet twice": (
        r"^subnets = .*",
        'subnets = ["subnet-0a1b2c3d", "subnet-0a1b2c3d"]',
        "network.subnets",
        "twice",
    ),
    "no vpc": (r'^vpc = ".*"', 'vpc = "default"', "network.vpc", "vpc-0123"),
    "unknown endpoint": (r"^route_tables = .*", 'endpoints = ["s4"]', "network.endpoints", "'s4' is not one of"),
    "one bucket for two": (r'^lake = ".*"', 'lake = "acme-muster-staging"', "buckets.staging", "already buckets.lake"),
    "bucket in capitals": (r'^lake = ".*"', 'lake = "Acme"', "buckets.lake", "lower-case"),
    "bucket too long": (r'^lake = ".*"', f'lake = "{"a" * 64}"', "buckets.lake", "3 to 63"),
    "existing what": (
        r'^lake = ".*"',
        'lake = "acme-lake"\nexisting = ["logs"]',
        "buckets.existing",
        "not one of inbox",
    ),
    "prefix without slash": (
        r'^lake = ".*"',
        'lake = "acme-lake"\ninbox_prefix = "in"',
        "buckets.inbox_prefix",
        "slash",
    ),
    "prefix with slash in front": (
        r'^lake = ".*"',
        'lake = "acme-lake"\ninbox_prefix = "/in/"',
        "buckets.inbox_prefix",
        "slash",
    ),
    "staging gone too soon": (
        r'^lake = ".*"',
        'lake = "acme-lake"\nstaging_days = 3',
        "buckets.staging_days",
        "less than 7",
    ),
    "version gone too soon": (
        r'^lake = ".*"',
        'lake = "acme-lake"\nold_version_days = 1',
        "buckets.old_version_days",
        "less than 3",
    ),
    "key of another region": (
        r'^lake = ".*"',
        'lake = "acme-lake"\nkey = "arn:aws:kms:eu-west-1:123456789012:key/ab"',
        "buckets.key",
        "is in eu-west-1",
    ),
    "shared bucket is the lake": (
        r"^\[workers\]",
        '[shared]\nexports = ["acme-muster-lake"]\n[workers]',
        "shared.exports",
        "own buckets",
    ),
    "key of shared buckets": (r"^\[workers\]", '[shared]\nkeys = ["alias/partner"]\n[workers]', "shared.keys", "ARN"),
    "secret of MSK without its key": (r"^secret_key = .*", "", "kafka.secret_key", "is missing"),
    "key of no secret": (
        r"^webhook_secret = .*",
        'webhook_secret_key = "arn:aws:kms:eu-central-1:123456789012:key/ab"',
        "notify.webhook_secret_key",
        "secret is not set",
    ),
    "brokers": (r'^bootstrap = ".*"', 'bootstrap = "ssl://b-1:9094"', "kafka.bootstrap", "HOST:PORT"),
    "port": (r'^bootstrap = ".*"', 'bootstrap = "b-1:99999"', "kafka.bootstrap", "port"),
    "role with secret": (r'^mechanism = ".*"', 'mechanism = "AWS_MSK_IAM"', "kafka.secret", "without a password"),
    "role without cluster": (
        r'^mechanism = "(.|\n)*secret_key = "arn:aws:kms.*"',
        'mechanism = "AWS_MSK_IAM"',
        "kafka.cluster",
        "rights name the cluster",
    ),
    "certificates elsewhere": (
        r"^partitions = .*|^mechanism = .*",
        'mechanism = "SCRAM-SHA-512"\nca_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ca"',
        "kafka.ca_secret",
        "is in eu-west-1",
    ),
    "mechanism without secret": (r'^secret = "(.*AmazonMSK.*)"', "", "kafka.secret", "is missing"),
    "secret without mechanism": (r"^mechanism = .*", "", "kafka.mechanism", "is missing"),
    "unknown mechanism": (r"^mechanism = .*", 'mechanism = "GSSAPI"', "kafka.mechanism", "not one of"),
    "mechanism that MSK has not": (r"^mechanism = .*", 'mechanism = "PLAIN"', "kafka.mechanism", "SCRAM-SHA-512"),
    "secret that MSK does not take": (r"AmazonMSK_muster-AbCdEf", "muster-kafka-AbCdEf", "kafka.secret", "AmazonMSK_"),
    "secret of another account": (
        r"123456789012:secret:muster-database",
        "210987654321:secret:muster-database",
        "database.secret",
        "account 210987654321",
    ),
    "secret by its name": (
        r'^secret = ".*muster-database.*"',
        'secret = "muster-database"',
        "database.secret",
        "is not the ARN",
    ),
    "no database secret": (r'^secret = ".*muster-database.*"', 'secret = ""', "database.secret", "is empty"),
    "database host": (r'^host = ".*"', 'host = "postgresql://db"', "database.host", "a host name"),
    "more workers than partitions": (
        r"^\[workers\]\ncount = 2",
        "[workers]\ncount = 9",
        "workers.count",
        "kafka.partitions",
    ),
    "more always than at most": (
        r"^\[workers\]\ncount = 2",
        "[workers]\ncount = 2\nmin = 3",
        "workers.min",
        "more than workers.count, 2",
    ),
    "fewer than none": (r"^\[workers\]\ncount = 2", "[workers]\ncount = 2\nmin = -1", "workers.min", "less than 0"),
    "leaving at once": (r"^account = ", "idle_minutes = 0\naccount = ", "idle_minutes", "less than 1"),
    "no worker": (r"^\[workers\]\ncount = 2", "[workers]\ncount = 0", "workers.count", "less than 1"),
    "cpu": (r"^\[workers\]\n", "[workers]\ncpu = 1000\n", "workers.cpu", "not one of 256"),
    "memory": (r"^\[workers\]\n", "[workers]\nmemory_mib = 1024\n", "workers.memory_mib", "2048 to 8192"),
    "disk": (r"^\[workers\]", "[tasks]\nephemeral_gib = 500\n[workers]", "tasks.ephemeral_gib", "20 to 200"),
    "type of machine": (
        r"^\[workers\]",
        '[machines]\ntypes = ["big"]\n[workers]',
        "machines.types",
        "not an instance type",
    ),
    "no type of machine": (r"^\[workers\]", "[machines]\ntypes = []\n[workers]", "machines.types", "is empty"),
    "machine smaller than Fargate": (
        r"^\[workers\]",
        "[machines]\nmemory_mib = 8192\n[workers]",
        "machines.memory_mib",
        "tasks.memory_mib",
    ),
    "mail without sender": (r'^from = ".*"', "", "mail.from", "is missing"),
    "mail without secret": (r'^secret = ".*muster-smtp.*"', "", "mail.secret", "is missing"),
    "address": (
        r'^addresses = \["on-call@example.com"\]',
        'addresses = ["on call"]',
        "alarms.addresses",
        "e-mail address",
    ),
    "operator with a name": (
        r"^operators = .*",
        'operators = ["Ops <ops@example.com>"]',
        "mail.operators",
        "e-mail address",
    ),
    "webhook": (
        r"^webhook_secret",
        'operator_webhooks = ["http://x"]\nwebhook_secret',
        "notify.operator_webhooks",
        "https://",
    ),
    "alarm after the end": (r"^addresses = .*", "oldest_job_s = 300000", "alarms.oldest_job_s", "given up"),
    "retention that is none": (
        r"^\[workers\]",
        "[logs]\nretention_days = 4\n[workers]",
        "logs.retention_days",
        "not one of",
    ),
    "retention below a job's age": (
        r"^\[workers\]",
        "[logs]\nretention_days = 1\n[workers]",
        "logs.retention_days",
        "3 days",
    ),
    "thresholds": (
        r"^\[workers\]",
        "[jobs]\nfargate_file_bytes = 1000\n[workers]",
        "jobs.lambda_file_bytes",
        "jobs.fargate_file_bytes",
    ),
    "per tenant": (
        r"^\[workers\]",
        "[jobs]\nmax_jobs = 4\nmax_jobs_per_tenant = 9\n[workers]",
        "jobs.max_jobs_per_tenant",
        "jobs.max_jobs",
    ),
    "architecture": (r"^\[network\]", 'architecture = "mips"\n[network]', "architecture", "x86_64 or arm64"),
    "stack's name": (r'^name = "muster"', 'name = "Muster 1"', "name", "lower-case"),
    "name that ECS refuses": (r'^name = "muster"', 'name = "ecs-muster"', "name", "begins with"),
    "unknown setting": (r"^\[workers\]", "[workers]\nnumber = 3", "workers.number", "is not a setting"),
    "wrong type": (r"^\[workers\]\ncount = 2", '[workers]\ncount = "2"', "workers.count", "a whole number"),
    "true is no number": (r"^\[workers\]\ncount = 2", "[workers]\ncount = true", "workers.count", "a whole number"),
    "not a table": (r"^\[workers\]\ncount = 2", "", "", ""),
}
del CASES["not a table"]


@pytest.mark.parametrize("case", CASES)
def test_invalid_value_is_refused_by_its_name(case: str, tmp_path: Path) -> None:
    old, new, setting, words = CASES[case]
    error = refused(tmp_path, changed(old, new))
    settings = error.detail["settings"]
    assert isinstance(settings, list)
    assert setting in settings
    assert words in error.message


def test_all_invalid_settings_are_listed_together(tmp_path: Path) -> None:
    text = (
        changed(r"^mechanism = .*", "")
        .replace("count = 2", "count = 99")
        .replace("acme-muster-lake", "acme-muster-inbox")
    )
    error = refused(tmp_path, text)
    assert error.detail["settings"] == [
        "buckets.lake",
        "kafka.mechanism",
        "database.connections",
        "workers.count",
        "segment_workers.count",
    ]


def test_all_missing_settings_are_listed_together(tmp_path: Path) -> None:
    error = refused(tmp_path, "")
    settings = error.detail["settings"]
    assert isinstance(settings, list)
    assert {
        "name",
        "account",
        "region",
        "image",
        "network.vpc",
        "buckets.lake",
        "kafka.bootstrap",
        "database.secret",
    } <= set(settings)


def test_missing_or_malformed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.toml")
    assert "not valid TOML" in refused(tmp_path, "name =").message


def test_name_length_is_limited_by_derived_names(tmp_path: Path) -> None:
    good = load(EXAMPLE)
    room = min(LIMITS[kind] - (len(name) - len(good.name)) for kind, name in names_of(good).all())
    path = tmp_path / "deploy.toml"
    path.write_text(TEXT.replace('name = "muster"', f'name = "{"m" * room}"'), encoding="utf-8")
    loaded = load(path)
    assert loaded.name == "m" * room
    Settings.load(environment(loaded, ()))
    error = refused(tmp_path, TEXT.replace('name = "muster"', f'name = "{"m" * (room + 1)}"'))
    assert f"at most {room} here" in error.message
    assert "prefix of state machines" in error.message
    with_functions = refused(tmp_path, TEXT.replace('name = "muster"', f'name = "{"m" * 60}"'))
    assert "makes the function" in with_functions.message


def test_region_without_a_service_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(load(EXAMPLE), region="ap-east-1", mail=replace(load(EXAMPLE).mail, host=""))
    monkeypatch.setitem(regions.NEEDED, "no-such-service", "Amazon Nothing")
    assert "Amazon Nothing" in list(regions.missing(settings))
    assert "AWS Lambda" not in list(regions.missing(settings))


def test_region_without_a_service_can_be_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        regions, "_regions", lambda service, _: frozenset() if service == "kafka" else frozenset({"eu-central-1"})
    )
    error = refused(tmp_path, TEXT)
    assert error.detail["problems"] == [
        "region: eu-central-1 has no Amazon MSK, as far as known; set regions_unchecked = true if it does"
    ]
    path = tmp_path / "deploy.toml"
    path.write_text(TEXT.replace("[network]", "regions_unchecked = true\n[network]"), encoding="utf-8")
    assert load(path).region == "eu-central-1"


def test_unknown_region_can_be_forced(tmp_path: Path) -> None:
    text = TEXT.replace("eu-central-1", "eu-future-9").replace("[network]", "regions_unchecked = true\n[network]")
    path = tmp_path / "deploy.toml"
    path.write_text(text, encoding="utf-8")
    assert load(path).region == "eu-future-9"
