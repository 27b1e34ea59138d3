"""Errors in sizes, limits, addresses and thresholds of a deployment."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from orchestration.deploy.forms import ADDRESS, KEY, MACHINE_TYPE, SECRET, SENDER, at_least, check_arn, finding
from orchestration.deploy.settings import DeploySettings, Jobs
from orchestration.deploy.toml_reader import Finding
from orchestration.platform.sizes import FUNCTION_DISK_MOST_MIB, function_disk_mib
from schemas.topics import MAX_JOB_AGE_S

DAY_S: Final = 86_400
# fmt: off
RETENTION_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)
# fmt: on
"""Values that CloudWatch Logs accepts."""
FARGATE: Final = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""Fargate's pairs of CPU units and MiB (Amazon ECS Developer Guide, "Fargate task definition differences")."""
FARGATE_DISK_GIB: Final = range(20, 200 + 1)


def check_sizes(settings: DeploySettings) -> Iterator[Finding]:
    """Sizes of services, tasks and machines."""
    partitions = settings.kafka.partitions
    for name, service in (("workers", settings.workers), ("segment_workers", settings.segment_workers)):
        yield from at_least(f"{name}.count", service.count, 1 if name == "workers" else 0)
        if service.count > partitions:
            yield finding(
                f"{name}.count",
                f"{service.count} is more than kafka.partitions, {partitions}: some would be idle",
            )
        yield from at_least(f"{name}.min", service.min, 0)
        if service.min > service.count:
            yield finding(f"{name}.min", f"{service.min} is more than {name}.count, {service.count}, the most")
        yield from fargate(name, service.cpu, service.memory_mib)
        yield from _disk(name, service.ephemeral_gib)
    yield from at_least("idle_minutes", settings.idle_minutes, 1)
    yield from fargate("relay", settings.relay.cpu, settings.relay.memory_mib)
    yield from fargate("feeder", settings.feeder.cpu, settings.feeder.memory_mib)
    yield from fargate("tasks", settings.tasks.cpu, settings.tasks.memory_mib)
    yield from _disk("tasks", settings.tasks.ephemeral_gib)
    if (disk := function_disk_mib(settings.jobs.lambda_file_bytes)) > FUNCTION_DISK_MOST_MIB:
        yield finding(
            "jobs.lambda_file_bytes",
            f"{settings.jobs.lambda_file_bytes} needs {disk} MiB of disk, but a function has at most "
            f"{FUNCTION_DISK_MOST_MIB}",
        )
    machines = settings.machines
    yield from at_least("machines.max", machines.max, 1)
    if not machines.types:
        yield finding("machines.types", "is empty: list instance types, the preferred one first")
    for type_ in machines.types:
        if not MACHINE_TYPE.fullmatch(type_):
            yield finding("machines.types", f"{type_!r} is not an instance type such as r7i.4xlarge")
    yield from at_least("machines.disk_gib", machines.disk_gib, 30)
    yield from at_least("machines.cpu", machines.cpu, 128)
    if machines.memory_mib <= settings.tasks.memory_mib:
        yield finding(
            "machines.memory_mib",
            f"{machines.memory_mib} is not more than tasks.memory_mib: a task too large for Fargate would gain no "
            "memory",
        )


def _disk(setting: str, gib: int) -> Iterator[Finding]:
    if gib not in FARGATE_DISK_GIB:
        yield finding(f"{setting}.ephemeral_gib", f"{gib} is not in the range 20 to 200 that Fargate supports")


def fargate(setting: str, cpu: int, memory_mib: int) -> Iterator[Finding]:
    """Require a size that Fargate has."""
    if cpu not in FARGATE:
        yield finding(f"{setting}.cpu", f"{cpu} is not one of {', '.join(map(str, FARGATE))}, the sizes of Fargate")
    elif memory_mib not in FARGATE[cpu]:
        low, high = FARGATE[cpu][0], FARGATE[cpu][-1]
        yield finding(
            f"{setting}.memory_mib",
            f"Fargate does not offer {memory_mib} MiB with cpu {cpu}, only steps from {low} to {high}",
        )


def check_notifications(settings: DeploySettings) -> Iterator[Finding]:
    """Mail, webhooks, alarms and logs."""
    mail, logs = settings.mail, settings.logs
    if mail.from_ and not mail.secret:
        yield finding("mail.secret", "is missing: the SMTP server requires user and password")
    for name in ("secret", "host", "operators"):
        if getattr(mail, name) and not mail.from_:
            yield finding("mail.from", f"is missing, but mail.{name} is set: without a sender no mail is sent")
    addresses = [("mail.from", a) for a in (mail.from_,) if a]
    addresses += [("mail.operators", a) for a in mail.operators] + [
        ("alarms.addresses", a) for a in settings.alarms.addresses
    ]
    for setting, address in addresses:
        if not (SENDER if setting == "mail.from" else ADDRESS).fullmatch(address):
            yield finding(setting, f"{address!r} is not an e-mail address")
    yield from check_arn(settings, "mail.secret", mail.secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(
        settings, "notify.webhook_secret", settings.notify.webhook_secret, SECRET, "a secret of Secrets Manager"
    )
    for setting, key, secret in (
        ("mail.secret_key", mail.secret_key, mail.secret),
        ("notify.webhook_secret_key", settings.notify.webhook_secret_key, settings.notify.webhook_secret),
    ):
        yield from check_arn(settings, setting, key, KEY, "a KMS key")
        if key and not secret:
            yield finding(setting, "is the key of a secret, but the secret is not set")
    for url in settings.notify.operator_webhooks:
        if not url.startswith("https://"):
            yield finding("notify.operator_webhooks", f"{url!r} does not begin with https://")
    yield from at_least("alarms.lag", settings.alarms.lag, 1)
    if not 0 < settings.alarms.oldest_job_s < MAX_JOB_AGE_S:
        yield finding(
            "alarms.oldest_job_s",
            f"{settings.alarms.oldest_job_s} is not between 0 and {MAX_JOB_AGE_S}, the age at which a job is given up",
        )
    if logs.retention_days not in RETENTION_DAYS:
        yield finding(
            "logs.retention_days", f"{logs.retention_days} is not one of {', '.join(map(str, RETENTION_DAYS))}"
        )
    elif logs.retention_days * DAY_S < MAX_JOB_AGE_S:
        yield finding(
            "logs.retention_days",
            f"{logs.retention_days} is less than the {MAX_JOB_AGE_S // DAY_S} days that a job may take",
        )


def check_jobs(jobs: Jobs) -> Iterator[Finding]:
    """Limits and thresholds of jobs."""
    for field in fields(jobs):
        yield from at_least(f"jobs.{field.name}", getattr(jobs, field.name), 0)
    for lower, upper in (
        ("small_file_bytes", "lambda_file_bytes"),
        ("lambda_file_bytes", "fargate_file_bytes"),
        ("max_jobs_per_tenant", "max_jobs"),
        ("max_small_jobs_per_tenant", "max_small_jobs"),
    ):
        low, high = getattr(jobs, lower), getattr(jobs, upper)
        if low > high > 0 or (low > high and "bytes" in lower):
            yield finding(f"jobs.{lower}", f"{low} is more than jobs.{upper}, {high}")
