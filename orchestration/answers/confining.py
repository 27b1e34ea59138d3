"""What a reader may do: memory, files and ports. Everything else is refused by the kernel, where it can."""

import os
import resource
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from connectors.confinement import PACKAGE_ROOT
from connectors.sandbox import CERTIFICATE_FILES, NAME_FILES, Confinement, Layer, Plan, program_files, require, warn
from connectors.storage.access import HTTP_PORT, HTTPS_PORT
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import SANDBOX_REQUIRED, Settings
from schemas.kafka_address import KafkaAddress, with_credentials

READER: Final = "a reader"
MIB: Final = 1024 * 1024
SLACK_BYTES: Final = 1024 * MIB
"""Memory beyond twice DuckDB's limit: Python, Arrow and pyiceberg, manifests, and what DuckDB does not count."""
GROUPS: Final = Path("/sys/fs/cgroup")
PROCESSES: Final = Path("/proc")
"""DuckDB reads there, and in its children too, how much memory there is. Landlock still keeps it from their memory."""
POSTGRES_PORT: Final = 5432


def limit_memory(settings: Settings) -> None:
    """Bound the memory of this process and of each of its children."""
    most = 2 * settings.duckdb_memory_bytes + SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def confine(settings: Settings) -> Layer:
    """Confine this process, which must have one thread; returns the missing layers.

    Raises `FatalError` SANDBOX_INCOMPLETE if one is missing and the setting `sandbox` is `required`.
    """
    missing = Confinement(plan_of(settings)).apply_to_this_thread()
    if settings.sandbox == SANDBOX_REQUIRED:
        require(READER, missing)
    warn(READER, missing)
    return missing


def plan_of(settings: Settings) -> Plan:
    """Object store, catalog and Kafka; its own temporary files, and the folder of a catalog that is a file."""
    address = KafkaAddress.parse(with_credentials(settings.kafka_bootstrap, os.devnull))  # Kafka may not be set up
    store, role = s3_access(settings), not settings.s3_access_key
    catalog = urlsplit(settings.catalog_url.reveal())
    is_file = catalog.scheme.startswith("sqlite")
    named = [Path(file) for file in (address.credentials, address.ca) if file is not None]
    own = [PACKAGE_ROOT / package for package in ("orchestration", "streams")]
    ports = {store.port, *(int(host.rpartition(":")[2]) for host in address.hosts)}
    if not is_file:
        ports.add(catalog.port or POSTGRES_PORT)
    if role:  # credentials come from the container's or the machine's address, or from AWS
        ports |= {HTTP_PORT, HTTPS_PORT}
        named.append(Path(os.environ.get("HOME", "/nowhere"), ".aws"))
    return Plan(
        readable=(*program_files(), *own, *NAME_FILES, *CERTIFICATE_FILES, GROUPS, PROCESSES, *named),
        writable=(settings.home / "tmp", *([Path(catalog.path).parent] if is_file else [])),
        ports=tuple(sorted(ports)),
    )
