"""The users of the embedded broker: their passwords in private files, and their permissions.

`muster` is the user of the broker itself and of everything in Muster, and may do everything. `client` is for external
programs: it writes events and profiles, and reads job events and membership changes. A missing password is created at
the next start; to change one, remove its file while the stack is stopped.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import answer
from connectors.kafka.topics import ANSWER_TIMEOUT_S, REQUEST_TIMEOUT_S, unavailable
from connectors.private_files import replace_private
from schemas.kafka_address import KafkaCredentials
from schemas.topics import EVENTS, JOB_EVENTS, MEMBERSHIP_CHANGES, OWN_GROUP_PREFIX, PROFILES

OWN: Final = "muster"
CLIENT: Final = "client"
USERS: Final = (OWN, CLIENT)
ITERATIONS: Final = 4096
"""Passwords are random and long, so more rounds would add no protection and only slow each connection."""
PASSWORD_BYTES: Final = 30
_STORED: Final = "users.stored"


def credentials_file(directory: Path, user: str = OWN) -> Path:
    """The file with a user's name and password, in the broker's directory; mode 0600."""
    return directory / f"{user}.json"


def ensure_passwords(directory: Path) -> None:
    """Create missing passwords."""
    for user in USERS:
        path = credentials_file(directory, user)
        if not path.exists():
            credentials = {"username": user, "password": secrets.token_urlsafe(PASSWORD_BYTES)}
            replace_private(path, json.dumps(credentials) + "\n")


def passwords(directory: Path) -> dict[str, str]:
    """Password by user. Raises `FatalError` CREDENTIALS_UNUSABLE."""
    files = {user: str(credentials_file(directory, user)) for user in USERS}
    return {user: KafkaCredentials.read(path, Path(path).read_bytes).password for user, path in files.items()}


def stored(directory: Path, users: Mapping[str, str]) -> bool:
    """Whether the broker's storage has these passwords."""
    try:
        return bool(json.loads((directory / _STORED).read_text(encoding="utf-8")) == _digests(users))
    except (OSError, ValueError):
        return False


def remember_stored(directory: Path, users: Mapping[str, str]) -> None:
    """Record that the broker's storage has these passwords."""
    replace_private(directory / _STORED, json.dumps(_digests(users)) + "\n")


def _digests(users: Mapping[str, str]) -> dict[str, str]:
    return {user: hashlib.sha256(password.encode()).hexdigest() for user, password in users.items()}


def store(admin: AdminClient, users: Mapping[str, str]) -> None:
    """Store these passwords in a running broker. Raises `KafkaException`."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, password.encode()) for user, password in users.items()
    ]
    for done in admin.alter_user_scram_credentials(changes, request_timeout=REQUEST_TIMEOUT_S).values():
        answer(admin, done, ANSWER_TIMEOUT_S)


def ensure_rules(bootstrap: str) -> None:
    """Store the permissions of `client` in a running broker. Idempotent. Raises `RetriableError` BROKER_UNAVAILABLE."""
    admin = admin_client(bootstrap)
    try:
        for done in admin.create_acls(list(_rules()), request_timeout=REQUEST_TIMEOUT_S).values():
            answer(admin, done, ANSWER_TIMEOUT_S)
    except KafkaException as exc:
        raise unavailable(bootstrap, exc) from exc


def _rules() -> Iterator[AclBinding]:
    allow, deny = AclPermissionType.ALLOW, AclPermissionType.DENY
    literal, prefixed = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
    for topic in (EVENTS, PROFILES):  # which includes describing it
        yield _rule(ResourceType.TOPIC, topic, literal, AclOperation.WRITE, allow)
    for topic in (JOB_EVENTS, MEMBERSHIP_CHANGES):
        yield _rule(ResourceType.TOPIC, topic, literal, AclOperation.READ, allow)
    yield _rule(ResourceType.TRANSACTIONAL_ID, "*", literal, AclOperation.WRITE, allow)
    yield _rule(ResourceType.GROUP, "*", literal, AclOperation.READ, allow)
    # A foreign member of one of our groups would get partitions. A refusal overrides every permission.
    yield _rule(ResourceType.GROUP, OWN_GROUP_PREFIX, prefixed, AclOperation.ALL, deny)


def _rule(
    kind: ResourceType, name: str, pattern: ResourcePatternType, what: AclOperation, permission: AclPermissionType
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{CLIENT}", "*", what, permission)
