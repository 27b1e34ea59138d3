"""Keys of the embedded S3 server for programs outside, each limited to what one tenant needs.

`muster` is the key of Muster itself, and may do everything. Beside it a tenant has

    client-<tenant>    writes and lists the tenant's folder of the inbox; reads and lists its downloads
    lake-<tenant>      reads and lists the tables of its audiences in the lake

The key `client-default` is made when the server starts, others when they are asked for (`muster connect --write`). Each
is in a private file of its name in `<home>/s3/keys`; to change one, remove its file while the stack is stopped. The
server reads the keys when it starts; at a SIGHUP it takes those that were added, and keeps those that are gone.
"""

import json
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Final

import psutil

from connectors.private_files import make_private_folder, replace_private
from connectors.storage.access import ClientOptions, S3Access, S3Key, new_client
from orchestration.platform.settings import Settings
from schemas.errors import RetriableError, UserError
from schemas.ids import DEFAULT_TENANT, TenantName
from schemas.layout import AUDIENCES_PREFIX, DOWNLOADS_PREFIX

CLIENT: Final = "client-"
LAKE: Final = "lake-"
CONFIGURATION: Final = "s3.json"
SECRET_BYTES: Final = 30
ACCEPTED_S: Final = 15.0
POLL_S: Final = 0.1


def write_configuration(directory: Path, settings: Settings) -> None:
    """Write the keys that the server accepts and what each may do, that of the tenant `default` included."""
    _ensure(directory, CLIENT + DEFAULT_TENANT)
    own = S3Key(access_key=settings.s3_access_key, secret_key=settings.s3_secret_key.reveal())
    files = sorted((directory / "keys").glob("*.json"))
    identities = [
        _identity("muster", own, ["Admin", "Read", "List", "Tagging", "Write"]),
        *(_identity(file.stem, _read(file), _actions(file.stem, settings)) for file in files),
    ]
    replace_private(directory / CONFIGURATION, json.dumps({"identities": identities}, indent=1))


def key_of(directory: Path, settings: Settings, tenant: TenantName, *, lake: bool = False) -> S3Key:
    """The key of a tenant at the server in this directory; made, and taken by a running server, if it is missing.

    Raises `UserError` NO_KEYS if no server has run here, `RetriableError` S3_UNAVAILABLE.
    """
    if not (directory / CONFIGURATION).exists():
        raise UserError(
            "NO_KEYS",
            f"there are no keys in {directory}: run this in the home of the S3 server; of the containers, in `s3`",
        )
    name = f"{LAKE if lake else CLIENT}{tenant}"
    key = _ensure(directory, name)
    write_configuration(directory, settings)
    if (server := _server(directory)) is not None:
        os.kill(server, signal.SIGHUP)
        bucket, prefix = _readable(name, settings)
        _await_accepted(settings, key, bucket, prefix)
    return key


def _ensure(directory: Path, name: str) -> S3Key:
    path = directory / "keys" / f"{name}.json"
    if not path.exists():
        make_private_folder(path.parent)
        made = {"access_key": name, "secret_key": secrets.token_urlsafe(SECRET_BYTES)}
        replace_private(path, json.dumps(made) + "\n")
    return _read(path)


def _read(path: Path) -> S3Key:
    return S3Key(**json.loads(path.read_text(encoding="utf-8")))


def _identity(name: str, key: S3Key, actions: list[str]) -> dict[str, object]:
    credentials = {"accessKey": key.access_key, "secretKey": key.secret_key}
    return {"name": name, "credentials": [credentials], "actions": actions}


def _actions(name: str, settings: Settings) -> list[str]:
    """What the server allows the key of this name, by bucket and prefix."""
    bucket, prefix = _readable(name, settings)
    allowed = [f"{action}:{bucket}/{prefix}*" for action in ("Read", "List")]
    if name.startswith(CLIENT):
        inbox = f"{settings.inbox_bucket}/{settings.inbox_prefix}{name.removeprefix(CLIENT)}/*"
        allowed += [f"Write:{inbox}", f"List:{inbox}"]
    return allowed


def _readable(name: str, settings: Settings) -> tuple[str, str]:
    """Bucket and prefix that the key of this name may read."""
    if name.startswith(LAKE):
        return settings.lake_bucket, f"{AUDIENCES_PREFIX}{name.removeprefix(LAKE)}/"
    return settings.staging_bucket, f"{DOWNLOADS_PREFIX}{name.removeprefix(CLIENT)}/"


def _server(directory: Path) -> int | None:
    """The process of the server that runs in this directory."""
    for process in psutil.process_iter():
        try:
            if process.name() == "weed" and Path(process.cwd()) == directory.resolve():
                return process.pid
        except (psutil.Error, OSError):
            continue
    return None


def _await_accepted(settings: Settings, key: S3Key, bucket: str, prefix: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    access = S3Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=key.access_key,
        secret_key=key.secret_key,
    )
    client = new_client(access, ClientOptions(connect_timeout_s=2.0, read_timeout_s=5.0, attempts=1))
    until = time.monotonic() + ACCEPTED_S
    while True:
        try:
            client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except (BotoCoreError, ClientError) as exc:
            if time.monotonic() > until:
                address = settings.s3_endpoint
                message = f"S3 at {address} has not taken the new key yet: {exc}; it does at its next start"
                raise RetriableError("S3_UNAVAILABLE", message, endpoint=address) from exc
            time.sleep(POLL_S)
        else:
            return
