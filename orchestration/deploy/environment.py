"""Environment of functions, tasks and services: the product's settings, derived from the deployment's.

`MUSTER_SECRETS` names secrets by ARN; the container reads them before its program starts.
"""

import json
from collections.abc import Iterable
from typing import Final

from orchestration.deploy.names import JOB_EVENTS_GROUP, names_of
from orchestration.deploy.settings import GIB, DeploySettings
from orchestration.platform.settings import ENV_PREFIX, MIB
from orchestration.platform.sizes import FUNCTION_DISK_MIB, function_disk_mib

FUNCTION_HOME: Final = "/tmp/muster"  # noqa: S108  # a function can write nowhere else, and has it to itself
CONTAINER_HOME: Final = "/var/lib/muster"
KEEP_ALIVE_S: Final = 75
"""Longer than the balancer keeps an idle connection: it would send a request on one that is being closed."""
CERTIFICATES: Final = {"CATALOG_URL": "CATALOG_CA", "KAFKA_CREDENTIALS": "KAFKA_CA"}
"""Secrets of a server -> that of the certificates which the server is verified by."""
HOLDERS: Final = {"SMTP": "smtp_user_holder", "WEBHOOK_SECRET": "webhook_secret_holder"}
"""Secrets of channels of notifications -> the setting that tells a process without the secret who has it."""
CONTROL_PLANE: Final = "control plane"
DISK_MARGIN_GIB: Final = 5
"""Part of a task's disk for the image, and for everything but DuckDB."""


def secrets_of(settings: DeploySettings) -> dict[str, str]:
    """Name -> ARN of every secret of the deployment."""
    every = {
        "CATALOG_URL": settings.database.secret,
        "CATALOG_CA": settings.database.ca_secret,
        "KAFKA_CREDENTIALS": settings.kafka.secret,
        "KAFKA_CA": settings.kafka.ca_secret,
        "SMTP": settings.mail.secret,
        "WEBHOOK_SECRET": settings.notify.webhook_secret,
        "OIDC_CLIENT_SECRET": settings.api.oidc_secret,
    }
    return {name: arn for name, arn in every.items() if arn}


def readable(settings: DeploySettings, names: Iterable[str]) -> dict[str, str]:
    """Name -> ARN of those of the named secrets that the deployment has, and of the certificates that go with them."""
    known, wanted = secrets_of(settings), set(names)
    wanted |= {CERTIFICATES[name] for name in wanted & CERTIFICATES.keys()}
    return {name: known[name] for name in sorted(wanted & known.keys())}


def environment(settings: DeploySettings, secrets: Iterable[str], *, home: str = CONTAINER_HOME) -> dict[str, str]:
    """Variables of a process that may read the named secrets. Empty ones mean AWS' endpoints, a role's credentials."""
    s = settings
    values: dict[str, object] = {
        "home": home,
        "aws_region": s.region,
        "account_id": s.account,
        "machine_prefix": names_of(s).machine_prefix,
        "engine_url": "",
        "s3_endpoint": "",
        "s3_access_key": "",
        "s3_secret_key": "",
        "s3_region": s.region,
        "inbox_bucket": s.buckets.inbox,
        "inbox_prefix": s.buckets.inbox_prefix,
        "staging_bucket": s.buckets.staging,
        "lake_bucket": s.buckets.lake,
        "kafka_bootstrap": s.kafka.url,
        "job_events_group": JOB_EVENTS_GROUP,
        "partitions": s.kafka.partitions,
        "workers": s.workers.count,
        "segment_workers": s.segment_workers.count,
        "min_workers": s.workers.min,
        "min_segment_workers": s.segment_workers.min,
        "idle_minutes": s.idle_minutes,
        "replication_factor": s.kafka.replication_factor,
        "small_file_bytes": s.jobs.small_file_bytes,
        "lambda_file_bytes": s.jobs.lambda_file_bytes,
        "fargate_file_bytes": s.jobs.fargate_file_bytes,
        "function_calls": s.function_calls,
        "max_jobs": s.jobs.max_jobs,
        "max_jobs_per_tenant": s.jobs.max_jobs_per_tenant,
        "max_small_jobs": s.jobs.max_small_jobs,
        "max_small_jobs_per_tenant": s.jobs.max_small_jobs_per_tenant,
        "smtp_host": s.mail_host,
        "smtp_port": s.mail.port,
        "smtp_from": s.mail.from_,
        "otlp_endpoint": s.logs.otlp_endpoint,
        "operator_emails": " ".join(s.mail.operators),
        "operator_webhooks": " ".join(s.notify.operator_webhooks),
        # Besides the product's settings: the address of the catalog, and the ARNs of the secrets.
        "catalog_host": s.database.host,
        "catalog_port": s.database.port,
        "catalog_name": s.database.name,
    }
    known = secrets_of(s)
    allowed = readable(s, secrets)
    for name, setting in HOLDERS.items():
        values[setting] = CONTROL_PLANE if name in known and name not in allowed else ""
    values |= {"secrets": json.dumps(allowed, separators=(",", ":"))} if allowed else {}
    return {ENV_PREFIX + name.upper(): str(value) for name, value in values.items()}


def api_environment(settings: DeploySettings, port: int) -> dict[str, str]:
    """Variables of the service of the API alone: where it listens, how it is known, and who lets people in."""
    api = settings.api
    values = {
        "api_url": f"http://127.0.0.1:{port}",
        "listen_host": "0.0.0.0",  # noqa: S104  # its security group lets in the balancer alone
        "api_public_url": f"https://{api.host}",
        "api_keep_alive_s": KEEP_ALIVE_S,
        "oidc_issuer": api.oidc_issuer,
        "oidc_client_id": api.oidc_client_id,
        "oidc_scopes": api.oidc_scopes,
        "oidc_groups_claim": api.oidc_groups_claim,
        "oidc_grants": api.oidc_grants,
    }
    return {ENV_PREFIX + name.upper(): str(value) for name, value in values.items()}


def function_limits(settings: DeploySettings, memory_mib: int) -> dict[str, str]:
    """Limits in such a function: of its disk for DuckDB, half of its memory for the child process that parses a file.

    A file that needs more ends its child and is refused; it does not end the function, which would look like an outage.
    """
    disk_mib = function_disk_mib(settings.jobs.lambda_file_bytes) - FUNCTION_DISK_MIB // 2
    return {
        f"{ENV_PREFIX}DUCKDB_TEMP_BYTES": str(disk_mib * MIB),
        f"{ENV_PREFIX}PARSE_MEMORY_BYTES": str(memory_mib * MIB // 2),
    }


def task_limits(cpu: int, memory_mib: int, disk_gib: int) -> dict[str, str]:
    """What DuckDB may use in a task of this size: half the memory, every processor, nearly all of the disk."""
    return {
        f"{ENV_PREFIX}DUCKDB_MEMORY_BYTES": str(memory_mib * MIB // 2),
        f"{ENV_PREFIX}DUCKDB_THREADS": str(max(1, cpu // 1024)),
        f"{ENV_PREFIX}DUCKDB_TEMP_BYTES": str((disk_gib - DISK_MARGIN_GIB) * GIB),
    }
