"""The home directory: its layout, its permissions, and the settings that the first start writes into it."""

import json
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from connectors.private_files import replace_private
from orchestration.local.ports import LOOPBACK, Ports, is_free, kafka_address, pick_free_ports
from orchestration.platform.settings import AS_MANY_FIELDS, SETTINGS_FILE, Settings
from schemas.errors import UserError

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600
SIGN_OF_LIFE: Final = "feeder.alive"
"""File of a home that the feeder touches while it works."""
SECRET_BYTES: Final = 30
"""40 characters in base64, as long as an AWS secret key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Paths below one home directory. Constructing it touches no file."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """Settings of this deployment, secrets included; mode 0600."""
        return self.path / SETTINGS_FILE

    @property
    def ports_file(self) -> Path:
        """Ports of the embedded stack that clients do not need."""
        return self.path / "ports.toml"

    @property
    def state_file(self) -> Path:
        """The supervisor's latest status of each part."""
        return self.path / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor while it lives."""
        return self.path / "supervisor.lock"

    @property
    def kafka(self) -> Path:
        """Broker configuration and data."""
        return self.path / "kafka"

    @property
    def s3(self) -> Path:
        """S3 server configuration and data."""
        return self.path / "s3"

    @property
    def engine(self) -> Path:
        """Journal of the workflow engine."""
        return self.path / "engine"

    @property
    def containers_mark(self) -> Path:
        """Exists once a task of this home has run in a container."""
        return self.engine / "containers"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.path / "logs"

    def log_file(self, part: str) -> Path:
        """Log file for the output of a part."""
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Create the directories. Raises `UserError` HOME_NOT_WRITABLE."""
        try:
            for directory in (self.path, self.kafka, self.s3, self.engine, self.logs):
                directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
                directory.chmod(PRIVATE_DIRECTORY)
        except OSError as exc:
            raise UserError(
                "HOME_NOT_WRITABLE",
                f"cannot use {self.path} as home directory: {exc.strerror}; set MUSTER_HOME to a directory that "
                "you can write to",
                path=str(self.path),
                reason=str(exc.strerror),
            ) from exc


def initialise(
    home: Home, env: Mapping[str, str], *, free_ports: bool, broker: bool = False, on_demand: bool | None = None
) -> Settings:
    """Make a home usable and read its settings: directories, random secrets, ports. Idempotent.

    Values in an existing settings file are kept, including ports: clients may have stored them. `free_ports` chooses
    ports if none are chosen yet, or if another program has taken one. `broker`: the embedded broker is about to start;
    an address from an earlier release without a logon gets one. `on_demand`: whether workers leave when there is no
    work, from now on; None leaves it as it is. Use all three for a stopped stack only. Raises `UserError`
    HOME_NOT_WRITABLE, BAD_SETTINGS.
    """
    home.make()
    env = {**env, "MUSTER_HOME": str(home.path)}
    known = tomllib.loads(home.settings_file.read_text(encoding="utf-8")) if home.settings_file.exists() else {}
    before = dict(known)
    added: dict[str, str | int] = {
        "s3_secret_key": secrets.token_urlsafe(SECRET_BYTES),
        "webhook_secret": secrets.token_urlsafe(SECRET_BYTES),
    }
    if not home.ports_file.exists():
        ports = pick_free_ports() if free_ports else Ports()
        replace_private(home.ports_file, ports.as_toml())
        if free_ports:
            added |= ports.addresses()
    elif free_ports and not _ports_are_free(home, env):
        ports = pick_free_ports()
        replace_private(home.ports_file, ports.as_toml())
        known |= ports.addresses()
    if broker:
        address = str(known.get("kafka_bootstrap") or added.get("kafka_bootstrap") or f"{LOOPBACK}:{Ports().kafka}")
        if "://" not in address:
            known["kafka_bootstrap"] = kafka_address(address)
    if on_demand is not None:
        known = {name: value for name, value in known.items() if name not in AS_MANY_FIELDS}
        known |= dict.fromkeys(AS_MANY_FIELDS, 0) if on_demand else {}
    # Topics are created with this count and never get another: later starts must not depend on environment variables.
    added["partitions"] = Settings.load(env).partitions
    missing = {name: value for name, value in added.items() if not known.get(name)}
    if missing or known != before:
        replace_private(home.settings_file, as_toml(known | missing))
    home.settings_file.chmod(PRIVATE_FILE)
    return Settings.load(env)


def _ports_are_free(home: Home, env: Mapping[str, str]) -> bool:
    return all(map(is_free, astuple(Ports.load(home.ports_file, Settings.load(env)))))


def as_toml(values: Mapping[str, object]) -> str:
    """Flat TOML; a JSON string is a TOML basic string, a JSON number a TOML number."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
