"""Starts readers, with only what they need.

A reader has the keys of the object store, the address of the catalog and the logon to Kafka; no secret of
notifications, metrics or tokens. It gets them over its socket: neither its environment nor its command line has any.
"""

import logging
import os
import subprocess
import sys
from dataclasses import fields
from typing import IO, Final

from connectors.confinement import ONE_THREAD, child_environment
from connectors.fork_server.owner import Forks, ForkServerDiedError
from orchestration.platform.settings import Secret, Settings
from orchestration.readers.frames import encode
from orchestration.readers.pool import Readers
from orchestration.readers.reader import Reader, died
from schemas.errors import FatalError

ROLE_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Where AWS's clients find the role of the process, if the settings have no keys."""


SECRETS: Final = frozenset({"s3_secret_key", "catalog_url"})
"""All that a reader gets. Of Kafka, it reads the file with the password."""
OF_OTHERS: Final = ("oidc_", "operator_", "smtp_", "webhook_")
"""Settings of logins and notifications, whose addresses may hold secrets too."""
_log = logging.getLogger(__name__)
LOADING: Final = {
    **ONE_THREAD,
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # mimalloc reserves 1 GiB, which counts against the limit of memory
}
"""The server has one thread, and so has a reader until it is confined."""


def readers_of(settings: Settings) -> Readers:
    """The readers of a service; nothing is started yet."""
    forks = Forks(lambda control_fd, output: _start(settings, control_fd, output))
    return Readers(
        lambda: start_reader(settings, forks, resident=True),
        lambda: start_reader(settings, forks, resident=False),
        forks.stop,
        count=settings.api_readers,
    )


def start_reader(settings: Settings, forks: Forks, *, resident: bool) -> Reader:
    """A process that loads the rest of what it needs. Waits until the server has loaded.

    `resident`: the kernel confines it. One for a single question is not confined: it may parse files, in children that
    could not enter their namespaces inside its confinement. Raises `RetriableError` READER_DIED, `FatalError`
    READER_FAILED.
    """
    try:
        process = forks.fork(os.fdopen(os.dup(2), "wb"))  # its log is the service's
    except ForkServerDiedError as exc:
        _log.warning("the server of readers has ended with code %d: %s", exc.exit_code, exc.stderr)
        if exc.from_outside:
            raise died() from exc
        detail = {"exit_code": exc.exit_code, "stderr": exc.stderr}
        raise FatalError("READER_FAILED", "the server of readers cannot start", **detail) from exc
    except OSError as exc:
        _log.warning("a reader cannot be forked: %s", exc)
        raise died() from exc
    own = without_other_secrets(settings)
    if resident:
        own = own.with_(duckdb_memory_bytes=settings.api_reader_memory_bytes)
    given = {"settings": own.environment(), "resident": resident}
    reader = Reader(process)
    try:
        reader.send(encode(given))
    except BaseException:
        reader.close()
        raise
    return reader


def without_other_secrets(settings: Settings) -> Settings:
    """The settings with no secret but those that a reader needs, and none of what is not for readers at all."""
    defaults = {one.name: one.default for one in fields(Settings)}
    dropped = {
        name: default
        for name, default in defaults.items()
        if (isinstance(default, Secret) and name not in SECRETS) or name.startswith(OF_OTHERS)
    }
    return settings.with_(**dropped)


def _start(settings: Settings, control_fd: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    role = () if settings.s3_access_key else ROLE_VARIABLES
    passed = {name: os.environ[name] for name in role if name in os.environ}
    return subprocess.Popen(
        # -P: modules must not be imported from the directory the service happens to be in.
        [sys.executable, "-P", "-m", "orchestration.answers.server", str(control_fd)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child_environment() | LOADING | passed | {"TMPDIR": str(settings.home / "tmp")},
        pass_fds=(control_fd,),
    )
