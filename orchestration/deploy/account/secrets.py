"""Secrets: that they exist and have the form that processes read. No value is shown."""

import json
import ssl
from collections.abc import Iterator
from typing import Any, Final

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, note, ok, wrong
from orchestration.deploy.environment import secrets_of
from orchestration.deploy.settings import DeploySettings

SETTINGS: Final = {
    "CATALOG_URL": "database.secret",
    "CATALOG_CA": "database.ca_secret",
    "KAFKA_CREDENTIALS": "kafka.secret",
    "KAFKA_CA": "kafka.ca_secret",
    "SMTP": "mail.secret",
    "WEBHOOK_SECRET": "notify.webhook_secret",
    "OIDC_CLIENT_SECRET": "api.oidc_secret",
}
"""Name of a secret, as processes know it -> the setting with its ARN."""
LOGON: Final = ("username", "password")
CERTIFICATE: Final = ("certificate",)
FIELDS: Final = {
    "CATALOG_URL": LOGON,
    "KAFKA_CREDENTIALS": LOGON,
    "SMTP": LOGON,
    "CATALOG_CA": CERTIFICATE,
    "KAFKA_CA": CERTIFICATE,
}
"""Fields of the secrets that are JSON; the others are text."""


def check_secrets(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """Every secret of the deployment."""
    manager = clients("secretsmanager")
    for name, arn in secrets_of(settings).items():
        where = SETTINGS[name]
        try:
            with asking("ResourceNotFoundException", "InvalidRequestException"):
                described = manager.describe_secret(SecretId=arn)
                text = manager.get_secret_value(SecretId=arn).get("SecretString", "")
        except AbsentError:
            yield wrong(where, f"{arn} does not exist, has no value, or is being deleted", "create or restore it")
            continue
        if described.get("DeletedDate"):
            yield wrong(where, f"{arn} is being deleted", "aws secretsmanager restore-secret")
        elif fault := _fault(name, text):
            yield wrong(where, f"{arn} {fault}", "docs/deploy.md, section 0, has the form of each secret")
        else:
            yield ok(where, "exists, and has the form that processes read")
        yield from _key(settings, name, where, described)
    if not settings.database.ca_secret:
        yield note(
            "database.ca_secret",
            "is not set: connections to the database are encrypted, but to any server that answers",
            "store the certificates of the server's authority, and name the secret",
        )


def _fault(name: str, text: str) -> str:
    """What is wrong with a secret's text; empty if nothing is. Never repeats a part of it."""
    if not text.strip():
        return "has no text"
    if name not in FIELDS:
        return ""
    try:
        record = json.loads(text)
    except ValueError:
        return "is not JSON"
    if not isinstance(record, dict):
        return "is not a JSON object"
    lacking = [field for field in FIELDS[name] if not isinstance(record.get(field), str) or not record[field]]
    return f"has no text for {lacking[0]}" if lacking else _fault_of_certificates(record.get("certificate"))


def _fault_of_certificates(pem: str | None) -> str:
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, TypeError, ValueError):
        return "has no certificates as PEM in its field certificate"
    return ""


def _key(settings: DeploySettings, name: str, where: str, described: dict[str, Any]) -> Iterator[AccountFinding]:
    keys = {
        "CATALOG_URL": settings.database.secret_key,
        "KAFKA_CREDENTIALS": settings.kafka.secret_key,
        "SMTP": settings.mail.secret_key,
        "WEBHOOK_SECRET": settings.notify.webhook_secret_key,
        "OIDC_CLIENT_SECRET": settings.api.oidc_secret_key,
    }
    key = str(described.get("KmsKeyId", ""))
    own = key and not key.endswith("alias/aws/secretsmanager")
    configured = keys.get(name, "")
    if own and key.rpartition("/")[2] != configured.rpartition("/")[2]:
        advice = f"set {where}_key to its ARN" if name in keys else "encrypt it with aws/secretsmanager"
        yield wrong(f"{where}_key", f"the secret is encrypted with {key}, which no role may use", advice)
    elif configured and not own:
        yield wrong(f"{where}_key", f"the secret is not encrypted with {configured}", "encrypt it with this key")
