"""An operator's settings for a deployment: one TOML file, read into frozen dataclasses. docs/deploy.md explains it.

Sizes carry their unit in the name: `_mib` and `_gib` are binary, `_bytes` bytes.
"""

from dataclasses import dataclass, field
from typing import Final

from orchestration.platform.capacity import CONNECTIONS_OF_A_CALL, CONNECTIONS_OF_A_FEEDER, calls_within
from orchestration.platform.settings import Settings
from orchestration.platform.sizes import Feeder, Machines, Relay, Service, Tasks
from schemas.kafka_address import IAM
from segmentation.admission import Lanes, lanes_for
from segmentation.scaling import Limits, Range

GIB: Final = 1024**3
MINUTE_MS: Final = 60_000
FEEDERS: Final = 2 * CONNECTIONS_OF_A_FEEDER // CONNECTIONS_OF_A_CALL
"""How many workers have as many connections as the feeder and the one that takes over from it."""
_PRODUCT: Final = Settings()
"""Defaults of a deployment are those of every other installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Private subnets in at least two zones, where everything runs. The stack creates the named `endpoints`."""

    vpc: str
    subnets: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    route_tables: tuple[str, ...] = ()
    """Route tables of the subnets; with them the stack creates the gateway endpoint of S3, which is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Three buckets, one for each purpose. The stack uses those in `existing` unchanged, and creates the others."""

    inbox: str
    staging: str
    lake: str
    inbox_prefix: str = ""
    existing: tuple[str, ...] = ()
    key: str = ""
    """ARN of a KMS key for buckets, logs, queues and topics; without one the stack creates it."""
    access_logs: str = ""
    """Existing bucket for the access logs of S3; empty: no access logs."""
    staging_days: int = 14
    old_version_days: int = 30
    """How long an object of the inbox is kept after it was overwritten or deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The brokers; always over TLS. With the mechanism AWS_MSK_IAM roles log on, without a secret."""

    bootstrap: str
    mechanism: str = ""
    secret: str = ""
    ca_secret: str = ""
    """ARN of a secret with the certificates to trust instead of the system's: {"certificate": PEM}."""
    secret_key: str = ""
    """ARN of the KMS key of the secret, if it is not the account's own key for secrets (MSK requires another)."""
    cluster: str = ""
    """ARN of the cluster if it is Amazon MSK."""
    security_group: str = ""
    partitions: int = 8
    replication_factor: int = 3

    @property
    def url(self) -> str:
        """The value of the setting `kafka_bootstrap`."""
        if not self.mechanism:
            return f"ssl://{self.bootstrap}"
        region = f"&region={self.cluster.split(':')[3]}" if self.with_role else ""
        return f"sasl_ssl://{self.bootstrap}?mechanism={self.mechanism}{region}"

    @property
    def with_role(self) -> bool:
        """Whether roles log on, as IAM knows them."""
        return self.mechanism == IAM

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the brokers."""
        return tuple(sorted({int(host.rpartition(":")[2]) for host in self.bootstrap.split(",")}))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """The PostgreSQL server of the catalog."""

    host: str
    secret: str
    ca_secret: str = ""
    """As that of Kafka; without it connections are encrypted, but to any server that answers."""
    port: int = 5432
    name: str = "muster"
    secret_key: str = ""
    security_group: str = ""
    connections: int = 80
    """Connections that this deployment may open, of the server's `max_connections`; functions get what is left over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The service of the API behind a balancer inside the network. Without `host` there is none."""

    host: str = ""
    certificate: str = ""
    """ARN of a certificate of ACM for the host."""
    clients: tuple[str, ...] = ()
    """CIDR ranges from which it can be reached."""
    cpu: int = 1024
    memory_mib: int = 6144
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_secret: str = ""
    oidc_secret_key: str = ""
    oidc_scopes: str = _PRODUCT.oidc_scopes
    oidc_groups_claim: str = _PRODUCT.oidc_groups_claim
    oidc_grants: str = ""
    """JSON: roles by group, the first administrators among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Mail over SES' SMTP interface, or another server. Without `from` no mail is sent."""

    from_: str = ""
    secret: str = ""
    secret_key: str = ""
    host: str = ""
    port: int = 587
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Webhooks: the secret behind the signatures that receivers check, and the operators' URLs."""

    webhook_secret: str = ""
    webhook_secret_key: str = ""
    operator_webhooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Who gets CloudWatch's alarms, and their thresholds."""

    addresses: tuple[str, ...] = ()
    lag: int = 5000
    """Unacknowledged messages of one partition, for 15 minutes."""
    oldest_job_s: int = 6 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Logs of functions, tasks, services and state machines."""

    retention_days: int = 30
    tracing: bool = True
    """X-Ray traces of executions."""
    container_insights: bool = False
    """CloudWatch's metrics of tasks and services, each of which has its price, also while none runs."""
    otlp_endpoint: str = ""
    """A collector of spans, reached by HTTPS on port 443, which alone the security groups let through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Buckets besides the three: those that jobs may read files from, and those that exports may write to."""

    imports: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """KMS keys that encrypt those buckets; their policies let this account's roles use them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Limits and thresholds, as docs/operations.md explains them."""

    small_file_bytes: int = _PRODUCT.small_file_bytes
    lambda_file_bytes: int = _PRODUCT.lambda_file_bytes
    fargate_file_bytes: int = getattr(_PRODUCT, "fargate_file_bytes", 64 * GIB)
    max_jobs: int = _PRODUCT.max_jobs
    max_jobs_per_tenant: int = _PRODUCT.max_jobs_per_tenant
    max_small_jobs: int = _PRODUCT.max_small_jobs
    max_small_jobs_per_tenant: int = _PRODUCT.max_small_jobs_per_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySettings:
    """One deployment: one stack in one region of one account."""

    name: str
    account: str
    region: str
    image: str
    network: Network
    buckets: Buckets
    kafka: Kafka
    database: DatabaseServer
    setup_image: str = ""
    """Image of the setup task, if it is ahead of the rest: migrations come before the release that needs them."""
    architecture: str = "x86_64"
    regions_unchecked: bool = False
    workers: Service = field(default_factory=Service)
    segment_workers: Service = field(default_factory=Service)
    idle_minutes: int = int(_PRODUCT.idle_minutes)
    """How long workers outlast the work."""
    relay: Relay = field(default_factory=Relay)
    feeder: Feeder = field(default_factory=Feeder)
    api: Api = field(default_factory=Api)
    tasks: Tasks = field(default_factory=Tasks)
    machines: Machines = field(default_factory=Machines)
    mail: Mail = field(default_factory=Mail)
    notify: Notify = field(default_factory=Notify)
    alarms: Alarms = field(default_factory=Alarms)
    logs: Logs = field(default_factory=Logs)
    shared: Shared = field(default_factory=Shared)
    jobs: Jobs = field(default_factory=Jobs)

    @property
    def partition(self) -> str:
        """The AWS partition that the region belongs to; ARNs begin with it."""
        for beginning, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc")):
            if self.region.startswith(beginning):
                return partition
        return "aws"

    @property
    def domain(self) -> str:
        """The DNS suffix of AWS' services there."""
        return {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}.get(self.partition, "amazonaws.com")

    @property
    def function_calls(self) -> int:
        """Concurrent calls of functions that the database has connections for."""
        return calls_within(self.database.connections, processes=self.processes, workers=self.all_workers + FEEDERS)

    @property
    def lanes(self) -> Lanes:
        """Limits of running jobs."""
        return lanes_for(self.jobs, calls=self.function_calls, workers=self.workers.count)

    @property
    def processes(self) -> int:
        """Control planes and services of the API: two of each while one takes over from the other."""
        return 2 * (1 + bool(self.api.host))

    @property
    def all_workers(self) -> int:
        """Workers of imports and of segments."""
        return self.workers.count + self.segment_workers.count

    @property
    def limits(self) -> Limits:
        """Between which counts workers and control planes follow the work."""

        def within(service: Service) -> Range:
            return Range(least=service.min, most=service.count)

        return Limits(
            workers=within(self.workers),
            segment_workers=within(self.segment_workers),
            idle_ms=self.idle_minutes * MINUTE_MS,
        )

    @property
    def mail_host(self) -> str:
        """The SMTP server. Empty if no mail is sent."""
        return (self.mail.host or f"email-smtp.{self.region}.{self.domain}") if self.mail.from_ else ""

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def bucket_arn(self, bucket: str, key: str = "") -> str:
        """ARN of a bucket, or of objects in it."""
        return f"arn:{self.partition}:s3:::{bucket}" + (f"/{key}" if key else "")
