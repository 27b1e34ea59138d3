"""Named destination profiles: how to reach buckets of other owners. Jobs, logs and commands carry only the name.

    [partner]
    endpoint = "https://s3.example.com"      # without one: AWS
    region = "eu-west-1"
    access_key = "env:PARTNER_ACCESS_KEY"    # a value, or the variable that has it
    secret_key = "env:PARTNER_SECRET_KEY"
    session_token = "env:PARTNER_TOKEN"      # with temporary credentials
    prefix = "s3://bucket/from-us"           # exports with this profile may go below it, and nowhere else
    sse = "aws:kms"
    kms_key_id = "arn:aws:kms:..."
    acl = "bucket-owner-full-control"
    storage_class = "STANDARD_IA"

Without keys, AWS's credential chain is used (the role of a task). Everything except the region is optional.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.sinks.addresses import s3_prefix
from connectors.storage.access import S3Access
from schemas.errors import UserError

OTHER_USERS: Final = 0o077
"""Mode bits that let other users read or change a file."""
FROM_ENVIRONMENT: Final = "env:"
SECRETS: Final = ("access_key", "secret_key", "session_token")
NEW_OBJECT: Final[Mapping[str, tuple[str, frozenset[str] | None]]] = {
    "sse": ("ServerSideEncryption", frozenset({"AES256", "aws:kms", "aws:kms:dsse"})),
    "kms_key_id": ("SSEKMSKeyId", None),
    "acl": ("ACL", frozenset({"bucket-owner-full-control"})),
    "storage_class": (  # classes whose objects can be read at once
        "StorageClass",
        frozenset({"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}),
    ),
}
"""Profile key: boto3's argument for a new object, and the allowed values (None: any)."""
KEYS: Final = frozenset({"endpoint", "region", "prefix", *SECRETS, *NEW_OBJECT})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationProfile:
    """How to reach and write a destination. `extra`: boto3 arguments for every object; `prefix`: the allowed prefix."""

    name: str
    access: S3Access = field(repr=False)
    extra: Mapping[str, str]
    prefix: str | None = None

    def admit(self, uri: str) -> None:
        """Raise `UserError` OUTSIDE_PROFILE if `uri` is not below the prefix, BAD_URI if it is not a valid prefix."""
        _require_below(self.name, self.prefix, uri)


def load_profile(path: Path, name: str, env: Mapping[str, str]) -> DestinationProfile:
    """Load a profile by name from a file of profiles. `env` holds the variables that it may refer to.

    Raises `UserError` UNKNOWN_PROFILE, and BAD_PROFILES for an unusable file: the error names the profile and the key,
    never a value.
    """
    values = {key: _resolved(path, name, key, value, env) for key, value in _table(path, name).items()}
    _check(path, name, values)
    return DestinationProfile(
        name=name,
        access=S3Access(
            endpoint=values.get("endpoint", ""),
            region=values["region"],
            access_key=values.get("access_key", ""),
            secret_key=values.get("secret_key", ""),
            session_token=values.get("session_token", ""),
        ),
        extra={argument: values[key] for key, (argument, _) in NEW_OBJECT.items() if key in values},
        prefix=values.get("prefix"),
    )


def check_profile(path: Path, name: str, uri: str) -> None:
    """Check what is known where no export runs: that the profile exists, and that `uri` is below its prefix.

    Its variables are set where exports run. Raises `UserError` UNKNOWN_PROFILE, BAD_PROFILES, OUTSIDE_PROFILE, BAD_URI.
    """
    prefix = _table(path, name).get("prefix")
    if isinstance(prefix, str) and not prefix.startswith(FROM_ENVIRONMENT):
        _require_below(name, prefix, uri)


def _require_below(profile: str, allowed: str | None, uri: str) -> None:
    bucket, prefix = s3_prefix(uri)
    if allowed is None:
        return
    own_bucket, own_prefix = s3_prefix(allowed)
    if bucket != own_bucket or not prefix.startswith(own_prefix):
        raise UserError(
            "OUTSIDE_PROFILE",
            f"{uri} is not below {allowed}, where exports with profile {profile} may go",
            profile=profile,
            destination=uri,
        )


def _table(path: Path, name: str) -> Mapping[str, Any]:
    tables = _read(path)
    table = tables.get(name)
    if table is None or not _NAME.fullmatch(name):
        known = ", ".join(sorted(tables)) or "none"
        raise UserError("UNKNOWN_PROFILE", f"{path} has no profile {name[:80]!r}; it has: {known}", profile=name[:80])
    return table


def _read(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The tables of the file; empty if the file does not exist."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            tables = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise UserError("BAD_PROFILES", f"{path} cannot be read: {exc.strerror}", path=str(path)) from exc
    except UnicodeDecodeError:
        raise UserError("BAD_PROFILES", f"{path} is not UTF-8", path=str(path)) from None  # the error quotes the file
    except tomllib.TOMLDecodeError as exc:
        raise UserError("BAD_PROFILES", f"{path} is not valid TOML: {exc}", path=str(path)) from exc
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise _bad(path, name, None, "is not a table")
        if unknown := sorted(table.keys() - KEYS):
            raise _bad(path, name, unknown[0], f"is unknown; known keys are {', '.join(sorted(KEYS))}")
    if mode & OTHER_USERS and any(_is_secret(table) for table in tables.values()):
        raise UserError(
            "BAD_PROFILES",
            f"{path} contains credentials, but users other than its owner can open it: run chmod 600 {path}",
            path=str(path),
        )
    return tables


def _is_secret(table: Mapping[str, Any]) -> bool:
    """True if a profile contains credentials, not just the names of variables with credentials."""
    return any(not str(table.get(key, FROM_ENVIRONMENT)).startswith(FROM_ENVIRONMENT) for key in SECRETS)


def _resolved(path: Path, name: str, key: str, value: object, env: Mapping[str, str]) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(path, name, key, "is not text, or is empty")
    if not value.startswith(FROM_ENVIRONMENT):
        return value
    if not (found := env.get(value.removeprefix(FROM_ENVIRONMENT))):
        raise _bad(path, name, key, "names a variable that is not set where the export runs")
    return found


def _check(path: Path, name: str, values: Mapping[str, str]) -> None:
    if "region" not in values:
        raise _bad(path, name, "region", "is missing")
    if ("access_key" in values) != ("secret_key" in values):
        raise _bad(path, name, "access_key", "and secret_key belong together: one is missing")
    if "session_token" in values and "access_key" not in values:
        raise _bad(path, name, "session_token", "cannot be used without access_key and secret_key")
    if "kms_key_id" in values and not values.get("sse", "").startswith("aws:kms"):
        raise _bad(path, name, "kms_key_id", 'needs sse = "aws:kms"')
    for key, (_, allowed) in NEW_OBJECT.items():
        if allowed is not None and key in values and values[key] not in allowed:
            raise _bad(path, name, key, f"is not one of {', '.join(sorted(allowed))}")
    if "endpoint" in values and not _is_endpoint(values["endpoint"]):
        raise _bad(path, name, "endpoint", "is not of the form https://host or https://host:port")
    if "prefix" in values:
        try:
            s3_prefix(values["prefix"])
        except UserError as exc:
            raise _bad(path, name, "prefix", f"cannot be used: {exc.message}") from exc


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    address = text.removesuffix("/").removeprefix(f"{parts.scheme}://")
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and address == parts.netloc
        and (parts.username is None)
    )


def _bad(path: Path, name: str, key: str | None, why: str) -> UserError:
    what = f"profile {name[:80]!r}" if key is None else f"{key[:80]!r} of profile {name[:80]!r}"
    return UserError("BAD_PROFILES", f"{path}: {what} {why}", path=str(path), profile=name[:80], key=key)
