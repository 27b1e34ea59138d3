"""Formats of values: regular expressions for AWS' formats, and findings for values that do not match."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.toml_reader import Finding

ACCOUNT: Final = re.compile(r"\d{12}")
REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")
IMAGE: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<domain>[a-z.]+)/"
    r"(?P<repository>[a-z0-9]+(?:[._/-][a-z0-9]+)*)@sha256:[0-9a-f]{64}"
)
SECRET: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):secretsmanager:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):secret:\S+"
)
KEY: Final = re.compile(r"arn:(?P<partition>[a-z-]+):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):key/[\w-]+")
CERTIFICATE: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):acm:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):certificate/[\w-]+"
)
CLUSTER: Final = re.compile(r"arn:(?P<partition>[a-z-]+):kafka:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):cluster/\S+")
BROKERS: Final = re.compile(r"[A-Za-z0-9.-]+:\d{1,5}(?:,[A-Za-z0-9.-]+:\d{1,5})*")
ADDRESS: Final = re.compile(r"[^@\s<>,]+@[^@\s<>,]+\.[^@\s<>,]+")
SENDER: Final = re.compile(rf"{ADDRESS.pattern}|[^<>]+<{ADDRESS.pattern}>")
"""With or without a display name: `Muster <muster@example.com>`."""
MACHINE_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\d[a-z0-9-]*\.(?:\d*x?large|metal(?:-\d+xl)?)")
PREFIX: Final = re.compile(r"(?:[A-Za-z0-9!_.*'()-]+/)*")


def finding(setting: str, problem: str) -> Finding:
    """One finding."""
    return Finding(setting=setting, problem=problem)


def ids(setting: str, values: Sequence[str], prefix: str) -> Iterator[Finding]:
    """Ids assigned by AWS, each once: `subnet-0123456789abcdef0`."""
    for value in values:
        if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", value):
            yield finding(setting, f"{value!r} is not the id of a {prefix}, such as {prefix}-0123456789abcdef0")
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield finding(setting, f"{value} is listed twice")


def check_arn(settings: DeploySettings, setting: str, arn: str, form: re.Pattern[str], what: str) -> Iterator[Finding]:
    """Require an ARN of this region, and of this account unless it is a key, which may be shared."""
    if not arn:
        return
    match = form.fullmatch(arn)
    if match is None:
        yield finding(setting, f"{arn!r} is not the ARN of {what}")
    elif match["region"] != settings.region or match["partition"] != settings.partition:
        yield finding(setting, f"is in {match['region']}, but the deployment is in {settings.region}")
    elif form is not KEY and match["account"] != settings.account:
        yield finding(setting, f"is in account {match['account']}, but the deployment is in {settings.account}")


def at_least(setting: str, value: int, least: int) -> Iterator[Finding]:
    """Require a minimum."""
    if value < least:
        yield finding(setting, f"{value} is less than {least}")
