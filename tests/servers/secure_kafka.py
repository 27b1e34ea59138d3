"""The embedded broker with TLS and users: the same Kafka, with three more listeners.

Tests create topics and users through the plaintext listener on loopback. The other three are TLS alone, TLS with a
user, and plaintext with a user. A private authority issues the certificate for 127.0.0.1, so `localhost` is a wrong
name for it. Where a user is asked for, tokens are taken too, unsigned ones (`unsigned_token`): the broker cannot check
those of Amazon MSK.
"""

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from connectors.kafka.worker_group import broker_answers
from orchestration.local import processes
from orchestration.local.kafka import broker
from orchestration.local.kafka.broker import ONE_COMPILER
from orchestration.local.ports import LOOPBACK, Ports
from tests.servers.certificates import make_issued_certificate
from tests.servers.ports import free_port
from tests.waiting import until

USER: Final = "muster"
PLAIN_USER: Final = "plain"
MECHANISMS: Final = {"SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512, "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureKafka:
    """A running broker: `host:port` of each listener, and the certificate that clients should trust."""

    plaintext: str
    tls: str
    sasl_ssl: str
    sasl_plaintext: str
    ca: Path
    folder: Path

    def credentials(self, name: str, password: str, user: str = USER) -> Path:
        """A file with user and password, in the format of Secrets Manager."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"username": user, "password": password}))
        return path

    def address(self, credentials: Path, mechanism: str = "SCRAM-SHA-512", **changed: str) -> str:
        """Value for `kafka_bootstrap`; `host` and `ca` may be changed."""
        server = self.sasl_ssl.replace(LOOPBACK, changed.get("host", LOOPBACK))
        ca = changed.get("ca", str(self.ca))
        return f"sasl_ssl://{server}?mechanism={mechanism}&credentials={quote(str(credentials))}&ca={quote(ca)}"

    def set_password(self, password: str, mechanism: str = "SCRAM-SHA-512") -> None:
        """Change the user's password; open connections stay. Returns once the broker knows it."""
        info = ScramCredentialInfo(MECHANISMS[mechanism], 4096)
        admin = AdminClient({"bootstrap.servers": self.plaintext, "log_level": 2})
        made = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, info, password.encode())])
        made[USER].result(10)
        until(lambda: self._takes(password, mechanism))

    def allow_group(self, group: str) -> None:
        """Let only the user read a group. Returns once the broker has taken the rule."""
        rule = AclBinding(
            ResourceType.GROUP,
            group,
            ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        # kept alive until the answer arrives
        admin = AdminClient({"bootstrap.servers": self.plaintext, "log_level": 2})
        for created in admin.create_acls([rule]).values():
            created.result(10)

    def _takes(self, password: str, mechanism: str) -> bool:
        client = Producer(
            {
                "bootstrap.servers": self.sasl_ssl,
                "security.protocol": "sasl_ssl",
                "ssl.ca.location": str(self.ca),
                "sasl.mechanism": mechanism,
                "sasl.username": USER,
                "sasl.password": password,
                "log_level": 2,
            }
        )
        try:
            return bool(client.list_topics(timeout=5).brokers)
        except KafkaException:
            return False


def unsigned_token(user: str, expires_at_s: float) -> str:
    """A token without a signature (RFC 7515, A.5)."""
    claims = {"sub": user, "iat": expires_at_s - 900, "exp": expires_at_s}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


@contextmanager
def secure_kafka(folder: Path, plain_password: str) -> Iterator[SecureKafka]:
    """Start a broker in an empty folder. SCRAM has the users of the embedded broker; PLAIN has one, with this password.

    It has an authorizer: everyone may do everything, except on resources with rules (`allow_group`).
    """
    ports = Ports(kafka=free_port(), kafka_controller=free_port())
    broker.prepare(folder, ports)
    ca, certificate, key = make_issued_certificate(folder)
    keystore = folder / "keystore.pem"
    keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
    listeners = {
        "PLAINTEXT": f"{LOOPBACK}:{ports.kafka}",
        "SSL": f"{LOOPBACK}:{free_port()}",
        "SASL_SSL": f"{LOOPBACK}:{free_port()}",
        "SASL_PLAINTEXT": f"{LOOPBACK}:{free_port()}",
    }
    advertised = ",".join(f"{name}://{server}" for name, server in listeners.items())
    changed = {
        "listeners": f"{advertised},CONTROLLER://{LOOPBACK}:{ports.kafka_controller}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": ",".join(f"{name}:{name}" for name in listeners) + ",CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "super.users": "",
        "allow.everyone.if.no.acl.found": "true",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": keystore,
        # By default, retention is checked every five minutes.
        "log.retention.check.interval.ms": 500,
        "log.initial.task.delay.ms": 500,
    }
    for name in ("sasl_ssl", "sasl_plaintext"):
        module = "org.apache.kafka.common.security"
        changed |= {
            f"listener.name.{name}.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
            f"listener.name.{name}.oauthbearer.sasl.jaas.config": f"{module}.oauthbearer.OAuthBearerLoginModule "
            f'required unsecuredLoginStringClaim_sub="{USER}";',
            f"listener.name.{name}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
            f"listener.name.{name}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required "
            f'user_{PLAIN_USER}="{plain_password}";',
        }
    properties = folder / "server.properties"
    kept = [line for line in properties.read_text().splitlines() if line.partition("=")[0] not in changed]
    properties.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in changed.items()), ""]))
    java, *arguments = broker.command(folder)
    process = processes.spawn([java, ONE_COMPILER, *arguments], env=os.environ, output=folder / "log")
    try:
        until(lambda: broker_answers(listeners["PLAINTEXT"]))
        yield SecureKafka(
            plaintext=listeners["PLAINTEXT"],
            tls=listeners["SSL"],
            sasl_ssl=listeners["SASL_SSL"],
            sasl_plaintext=listeners["SASL_PLAINTEXT"],
            ca=ca,
            folder=folder,
        )
    finally:
        process.terminate()
        process.wait(30)
