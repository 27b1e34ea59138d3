"""Secrets of a process at AWS: read from Secrets Manager before the program starts, and passed to it as settings.

`MUSTER_SECRETS` is a JSON object of names and ARNs. Each secret becomes settings:

- CATALOG_URL: {username, password} and perhaps {host, port, dbname}, as RDS stores them -> MUSTER_CATALOG_URL.
  MUSTER_CATALOG_HOST, _PORT and _NAME override the secret, for another route to the database.
- KAFKA_CREDENTIALS: {username, password}, as MSK stores them -> a file of mode 0600, MUSTER_KAFKA_CREDENTIALS_FILE.
- KAFKA_CA, CATALOG_CA: {certificate}, PEM, as Lambda wants it for Kafka -> a file, MUSTER_KAFKA_CA_FILE; for the
  catalog, its server is then verified.
- SMTP: {username, password} -> MUSTER_SMTP_USER, MUSTER_SMTP_PASSWORD.
- WEBHOOK_SECRET, METRICS_TOKEN, OIDC_CLIENT_SECRET: text -> the setting of that name.

Without Secrets Manager (compose), `MUSTER_KAFKA_CREDENTIALS` holds the content of the secret KAFKA_CREDENTIALS, and
`MUSTER_KAFKA_CA` certificates as text.

Messages never contain a value.
"""

import json
import os
import ssl
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from schemas.errors import RetriableError, UserError

VARIABLE: Final = "MUSTER_SECRETS"
KAFKA_VARIABLE: Final = "MUSTER_KAFKA_CREDENTIALS"
KAFKA_FILE: Final = "kafka-credentials.json"
KAFKA_CA_VARIABLE: Final = "MUSTER_KAFKA_CA"
KAFKA_CA_FILE: Final = "kafka-ca.pem"
CATALOG_CA_FILE: Final = "catalog-ca.pem"
OF_KAFKA: Final = frozenset({"KAFKA_CREDENTIALS", "KAFKA_CA"})
DATABASE_PORT: Final = 5432
CONNECT_TIMEOUT_S: Final = 3
READ_TIMEOUT_S: Final = 5
TRIES: Final = 3
"""A Lambda function must be ready for its first event within ten seconds."""
_ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})  # the latter: it is being deleted
_REFUSED: Final = frozenset({"AccessDeniedException", "DecryptionFailure", "UnrecognizedClientException"})


def provide(env: MutableMapping[str, str], *, only: frozenset[str] | None = None) -> None:
    """Put the contents of the secrets into `env`, which is read and changed. No effect if no secret is named.

    `only`: limit this to these secrets. Raises `UserError` BAD_SECRET, which names variable and ARN, and
    `RetriableError` SECRETS_UNAVAILABLE.
    """
    declared = _declared(env)
    for name in _KINDS:
        if name in declared and (only is None or name in only):
            _KINDS[name](env, name, declared[name], _read(env, name, declared[name]))
    if (text := env.pop(KAFKA_VARIABLE, None)) is not None:
        _kafka(env, "KAFKA_CREDENTIALS", KAFKA_VARIABLE, text)
    if pem := env.pop(KAFKA_CA_VARIABLE, None):
        _kafka_ca(env, "KAFKA_CA", KAFKA_CA_VARIABLE, json.dumps({"certificate": pem}))


def refresh(env: MutableMapping[str, str]) -> bool:
    """Like `provide`; returns whether any secret has changed."""
    before = _provided(env)
    provide(env)
    return _provided(env) != before


def point_to_kafka_files(env: MutableMapping[str, str]) -> None:
    """Provide only what Kafka's logon needs, for a health check: from the program's files, else from the secrets."""
    files = {"KAFKA_CREDENTIALS": (KAFKA_VARIABLE, KAFKA_FILE), "KAFKA_CA": (KAFKA_CA_VARIABLE, KAFKA_CA_FILE)}
    declared = _declared(env).keys()
    needed = {name: value for name, value in files.items() if name in declared or value[0] in env}
    if all(_file(env, file).exists() for _, file in needed.values()):
        for variable, file in needed.values():
            env[f"{variable}_FILE"] = str(_file(env, file))
            env.pop(variable, None)
    else:
        provide(env, only=OF_KAFKA)


def _provided(env: Mapping[str, str]) -> tuple[str | None, ...]:
    names = ("CATALOG_URL", "SMTP_USER", "SMTP_PASSWORD", "WEBHOOK_SECRET", "METRICS_TOKEN", "OIDC_CLIENT_SECRET")
    files = (_file(env, name) for name in (KAFKA_FILE, KAFKA_CA_FILE, CATALOG_CA_FILE))
    contents = (file.read_text(encoding="utf-8") if file.exists() else None for file in files)
    return (*(env.get(f"MUSTER_{name}") for name in names), *contents)


def _declared(env: Mapping[str, str]) -> dict[str, str]:
    if not (text := env.get(VARIABLE)):
        return {}
    known = ", ".join(_KINDS)
    try:
        declared = json.loads(text)
    except ValueError as exc:
        raise UserError("BAD_SECRET", f"{VARIABLE} is not JSON; it must name the ARNs of {known}") from exc
    if not isinstance(declared, dict) or not all(isinstance(arn, str) and arn for arn in declared.values()):
        raise UserError("BAD_SECRET", f"{VARIABLE} is not a JSON object of names and ARNs")
    if unknown := sorted(declared.keys() - _KINDS.keys()):
        raise UserError("BAD_SECRET", f"{VARIABLE} has unknown names: {', '.join(unknown)}; known are {known}")
    return declared


def _read(env: Mapping[str, str], name: str, arn: str) -> str:
    import boto3  # noqa: PLC0415  # a third of a second, which is only paid where there are secrets
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    parts = arn.split(":")
    region = parts[3] if len(parts) > 3 else env.get("MUSTER_AWS_REGION")  # arn:aws:service:region:...
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
    )
    try:
        answer = boto3.client("secretsmanager", region_name=region, config=config).get_secret_value(SecretId=arn)
    except ClientError as exc:
        code = exc.response["Error"]["Code"]
        if code in _ABSENT:
            raise _bad(name, arn, "does not exist, or is being deleted") from exc
        if code in _REFUSED:
            raise _bad(name, arn, f"cannot be read by this role: {code}") from exc
        raise RetriableError(
            "SECRETS_UNAVAILABLE", f"{name}: the secret {arn} could not be read: {exc}", arn=arn
        ) from exc
    except BotoCoreError as exc:
        raise RetriableError(
            "SECRETS_UNAVAILABLE", f"{name}: the secret {arn} could not be read: {exc}", arn=arn
        ) from exc
    text = str(answer.get("SecretString", ""))
    if not text.strip():
        raise _bad(name, arn, "has no text")
    return text


def _catalog(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    record = _record(name, arn, text)
    user, password = (_field(name, arn, record, field) for field in ("username", "password"))
    host = env.get("MUSTER_CATALOG_HOST") or _field(name, arn, record, "host", "MUSTER_CATALOG_HOST")
    port = env.get("MUSTER_CATALOG_PORT") or str(record.get("port") or DATABASE_PORT)
    if not port.isdecimal():
        raise _bad(name, arn, "has a port that is not a number")
    database = env.get("MUSTER_CATALOG_NAME") or _field(name, arn, record, "dbname", "MUSTER_CATALOG_NAME")
    ca = _file(env, CATALOG_CA_FILE)
    tls = f"verify-full&sslrootcert={quote(str(ca), safe='/')}" if "CATALOG_CA" in _declared(env) else "require"
    env["MUSTER_CATALOG_URL"] = (
        f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/"
        f"{quote(database, safe='')}?sslmode={tls}"
    )


def _kafka(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    record = _record(name, arn, text)
    credentials = {field: _field(name, arn, record, field) for field in ("username", "password")}
    _write(env, name, KAFKA_FILE, json.dumps(credentials))
    env["MUSTER_KAFKA_CREDENTIALS_FILE"] = str(_file(env, KAFKA_FILE))


def _kafka_ca(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    _write(env, name, KAFKA_CA_FILE, _certificates(name, arn, text))
    env["MUSTER_KAFKA_CA_FILE"] = str(_file(env, KAFKA_CA_FILE))


def _catalog_ca(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    _write(env, name, CATALOG_CA_FILE, _certificates(name, arn, text))


def _certificates(name: str, arn: str, text: str) -> str:
    pem = _field(name, arn, _record(name, arn, text), "certificate")
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, TypeError, ValueError):  # a TypeError for letters beyond ASCII
        raise _bad(name, arn, "has no certificates as PEM in its field certificate") from None
    return pem


def _write(env: Mapping[str, str], name: str, file_name: str, text: str) -> None:
    """Replace a file that only this user can read, whole at once."""
    file = _file(env, file_name)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        # Never open an existing file: its mode might let others read it.
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
        unfinished.replace(file)
    except OSError as exc:
        raise UserError(
            "BAD_SECRET", f"{name}: {file} cannot be written ({exc.strerror}): MUSTER_HOME must be writable"
        ) from exc


def _smtp(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    record = _record(name, arn, text)
    user, password = (_field(name, arn, record, field) for field in ("username", "password"))
    env["MUSTER_SMTP_USER"], env["MUSTER_SMTP_PASSWORD"] = user, password


def _text(env: MutableMapping[str, str], name: str, arn: str, text: str) -> None:
    del arn
    env[f"MUSTER_{name}"] = text.rstrip("\r\n")  # drop an editor's trailing line end


_KINDS: Final[Mapping[str, Callable[[MutableMapping[str, str], str, str, str], None]]] = {
    "CATALOG_CA": _catalog_ca,
    "CATALOG_URL": _catalog,
    "KAFKA_CA": _kafka_ca,
    "KAFKA_CREDENTIALS": _kafka,
    "SMTP": _smtp,
    "WEBHOOK_SECRET": _text,
    "METRICS_TOKEN": _text,
    "OIDC_CLIENT_SECRET": _text,
}


def _file(env: Mapping[str, str], name: str) -> Path:
    return Path(env.get("MUSTER_HOME", ".muster")).absolute() / name


def _record(name: str, arn: str, text: str) -> Mapping[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        raise _bad(name, arn, "is not JSON") from None  # the error contains the text
    if not isinstance(record, dict):
        raise _bad(name, arn, "is not a JSON object")
    return record


def _field(name: str, arn: str, record: Mapping[str, Any], field: str, variable: str | None = None) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value:
        raise _bad(name, arn, f"has no text for {field}" + (f", and {variable} is not set" if variable else ""))
    return value


def _bad(name: str, arn: str, what: str) -> UserError:
    return UserError("BAD_SECRET", f"{name}: the secret {arn} {what}", name=name, arn=arn)
