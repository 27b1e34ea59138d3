"""A PostgreSQL server of our own on a free port, for tests: Debian's binaries, a data directory that goes with it."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.settings import Secret

USER = "postgres"


@contextmanager
def postgres(folder: Path) -> Iterator[Secret]:
    """Start a server below `folder` and yield its SQLAlchemy URL. Fails, never skips, where no server is installed."""
    binaries = _binaries()
    data = folder / "pg"
    data.mkdir(parents=True)
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam(USER)
        as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        os.chown(data, account.pw_uid, account.pw_gid)
        for parent in data.parents:  # pytest makes its folders for the owner alone
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-N"]
    subprocess.run(run, check=True, capture_output=True, cwd="/")
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    subprocess.run(
        [*control, "-l", str(data / "log"), "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/"
    )
    try:
        yield Secret(f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres")
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).parent
    raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
