"""Starts the processes of readers: `python -m orchestration.readers`, with what they need and no more.

A reader has the keys of the object store, the address of the catalog and the logon to Kafka; no secret of
notifications, metrics or tokens. It gets them over its socket: neither its environment nor its command line has any.
"""

import os
import socket
import subprocess
import sys
from typing import Final

from connectors.confinement import ONE_THREAD, child_environment
from orchestration.platform.settings import Secret, Settings
from orchestration.readers.frames import encode
from orchestration.readers.pool import Readers
from orchestration.readers.reader import Reader

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


def readers_of(settings: Settings) -> Readers:
    """The readers of a service; nothing is started yet."""
    return Readers(
        lambda: start_reader(settings, resident=True),
        lambda: start_reader(settings, resident=False),
        count=settings.api_readers,
    )


def start_reader(settings: Settings, *, resident: bool) -> Reader:
    """A process that loads what it needs.

    `resident`: the kernel confines it, once it has loaded what all questions need. One for a single question is not:
    it may parse files, in children that could not enter their namespaces inside its confinement.

    Call it from a thread that lives as long as the reader: Linux ends the reader with it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            # -P: modules must not be imported from the directory the service happens to be in.
            [sys.executable, "-P", "-m", "orchestration.readers", str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=_environment(settings),
            pass_fds=(theirs.fileno(),),
        )
    ours.sendall(encode({"settings": without_other_secrets(settings).environment(), "resident": resident}))
    return Reader(process, ours)


def without_other_secrets(settings: Settings) -> Settings:
    """The settings without the secrets that a reader does not need."""
    return settings.with_(metrics_token=Secret(""), smtp_password=Secret(""), smtp_user="", webhook_secret=Secret(""))


def _environment(settings: Settings) -> dict[str, str]:
    role = () if settings.s3_access_key else ROLE_VARIABLES
    return (
        child_environment()
        | ONE_THREAD
        | {"NUMBA_NUM_THREADS": "1", "TMPDIR": str(settings.home / "tmp")}
        | {name: os.environ[name] for name in role if name in os.environ}
    )
