"""A compose project of the repository's docker-compose.yml with ports and credentials of its own."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.servers.ports import free_ports

ROOT: Final = Path(__file__).parents[2]
START_TIMEOUT_S: Final = 240
SERVICES: Final = ("kafka", "db", "s3", "engine", "relay", "worker")


class Compose:
    """One project. `muster(...)` is the command line in the engine's container."""

    def __init__(self, env_file: Path) -> None:
        self.project = f"muster-test-{uuid.uuid4().hex[:8]}"
        program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        self.command = [
            *program,
            "-p",
            self.project,
            "--env-file",
            str(env_file),
            "-f",
            str(ROOT / "docker-compose.yml"),
        ]

    def run(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = START_TIMEOUT_S) -> str:
        """Run a compose command; its standard output. Fails with what it said."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=ROOT, input=stdin, capture_output=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-4000:]}"
        return done.stdout.decode()

    def await_healthy(self, timeout_s: int = 180) -> None:
        """Until every part says that it works."""
        subprocess.run([str(ROOT / "docker/healthy.sh"), str(timeout_s), *self.command], cwd=ROOT, check=True)

    def muster(self, *arguments: str) -> Any:
        """The JSON answer of one command."""
        return json.loads(
            self.run("exec", "-T", "engine", "python", "-m", "orchestration.container", "muster", *arguments, "--json")
        )

    def put(self, name: str, content: str) -> str:
        """Put a file into the engine's container; its path there."""
        path = f"/var/lib/muster/{name}"
        self.run("exec", "-T", "engine", "sh", "-c", f"cat >{path}", stdin=content.encode())
        return path

    def members(self, audience: str) -> list[str]:
        """User ids of an audience, as `muster sql` reads them."""
        return [row["user_id"] for row in self.muster("sql", f"select user_id from audience('{audience}')")]

    def containers(self, service: str) -> list[str]:
        """Ids of the containers of a service."""
        return self.run("ps", "--quiet", service).split()

    def kill(self, service: str) -> None:
        """kill -9 the first process of a service, as a crash would; returns when the restart policy has acted."""
        container = self.containers(service)[0]
        while not (before := inspect(container))["State"]["Running"]:
            time.sleep(0.1)
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (now := inspect(container))["RestartCount"] == before["RestartCount"] or not now["State"]["Running"]:
            assert time.monotonic() < deadline, f"{service} was not started again"
            time.sleep(0.1)


def inspect(name: str) -> Any:
    """What Docker knows about a container or an image."""
    said = subprocess.run(["docker", "inspect", name], capture_output=True, check=True).stdout
    return json.loads(said)[0]


@contextmanager
def compose(folder: Path) -> Iterator[Compose]:
    """Start the whole stack; at the end nothing is left of it."""
    env_file = folder / "env"
    subprocess.run([str(ROOT / "docker/env.sh"), str(env_file)], check=True)
    names = ("KAFKA", "S3", "POSTGRES", "ENGINE")
    ports = "".join(f"{name}_PORT={port}\n" for name, port in zip(names, free_ports(len(names)), strict=True))
    with env_file.open("a") as file:
        file.write(ports + "PARTITIONS=4\nWORKER_SESSION_TIMEOUT_S=6\n")
    made = Compose(env_file)
    try:
        made.run("up", "--detach")
        made.await_healthy()
        yield made
    except BaseException:
        logs = subprocess.run(
            [*made.command, "logs", "--tail", "40", "--no-color"], cwd=ROOT, capture_output=True, check=False
        )
        print(logs.stdout.decode()[-20_000:])  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        made.run("--profile", "tools", "down", "--volumes", "--timeout", "5")
