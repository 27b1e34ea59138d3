"""A compose project of the repository's docker-compose.yml with its own ports and credentials."""

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

from tests.servers.images import docker
from tests.servers.ports import free_ports

ROOT: Final = Path(__file__).parents[2]
START_TIMEOUT_S: Final = 600
"""Enough even for a machine under twenty times the load: it only ends a hang."""
WORKER_HEALTH: Final = ("python", "-m", "orchestration.entrypoints.container", "health", "worker")
SERVICES: Final = ("kafka", "db", "s3", "engine", "api")


class Compose:
    """One project. `muster(...)` runs the command line in the container of the service."""

    def __init__(self, env_file: Path) -> None:
        self._env_file = env_file
        self.project = f"muster-test-{uuid.uuid4().hex[:8]}"
        lines = env_file.read_text(encoding="utf-8").splitlines()
        self.variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
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

    def run(self, *arguments: str) -> str:
        """Run a compose command; returns its standard output. Fails with its error output."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=ROOT, capture_output=True, timeout=START_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-4000:]}"
        return done.stdout.decode()

    def await_healthy(self, timeout_s: int = 600) -> None:
        """Wait until every part is healthy."""
        subprocess.run([str(ROOT / "docker/healthy.sh"), str(timeout_s), *self.command], cwd=ROOT, check=True)

    def change(self, **variables: object) -> None:
        """Set variables of the project and recreate the containers that they concern."""
        self.variables |= {name: str(value) for name, value in variables.items()}
        self._env_file.write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))
        self.run("up", "--detach")
        self.await_healthy()

    def await_working(self, container: str, timeout_s: float = 300) -> None:
        """Wait until the container's own health check passes, run now: Docker's next run may be 15 s away."""
        test = inspect(container)["Config"]["Healthcheck"]["Test"]
        await_passing(container, *(test[1:] if test[0] == "CMD" else ["sh", "-c", *test[1:]]), timeout_s=timeout_s)

    @contextmanager
    def another_worker(self) -> Iterator[str]:
        """A worker in a container of its own, beside those of the engine's container. Its id."""
        container = self.run("run", "--detach", "--no-deps", "setup", "worker").split()[-1]
        try:
            await_passing(container, *WORKER_HEALTH)
            yield container
        finally:
            docker("rm", "--force", container)

    def processes(self, service: str, *modules: str) -> list[int]:
        """Ids, on this host, of the processes of a service that run one of these modules."""
        [container] = self.containers(service)
        listed = [line.split() for line in docker("top", container, "-o", "pid,args").splitlines()[1:]]
        return [int(pid) for pid, *words in listed if set(words) & set(modules)]

    def muster(self, *arguments: str) -> Any:
        """The JSON answer of a command."""
        return json.loads(
            self._in_api("python", "-m", "orchestration.entrypoints.container", "muster", *arguments, "--json")
        )

    def put(self, name: str, content: str) -> str:
        """Put a file into that container; returns its path there."""
        path = f"/var/lib/muster/{name}"
        self._in_api("sh", "-c", f"cat >{path}", stdin=content.encode())
        return path

    def members(self, *audiences: str) -> list[str]:
        """Sorted user ids of all the audiences, as `muster sql` reads them."""
        query = " union all ".join(f"select user_id from audience('{audience}')" for audience in audiences)
        return sorted(row["user_id"] for row in self.muster("sql", query))

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers, stopped ones included."""
        labels = f"project={self.project}", f"service={service}"
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def logs(self) -> str:
        """Why the project does not work: the ends of the logs of containers that failed, else of all."""
        ids = docker("ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={self.project}").split()
        containers = [inspect(container) for container in ids]
        failed = [container for container in containers if container["State"]["ExitCode"]]
        return "\n".join(f"{c['Name']} {c['State']['Status']}\n{_log(c['Id'])}" for c in failed or containers)

    def _in_api(self, *command: str, stdin: bytes = b"") -> str:
        # Not `docker-compose exec`, which uses a second of CPU for the same.
        [api] = self.containers("api")
        done = executed(api, *command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-4000:]}"
        return done.stdout.decode()

    def kill(self, service: str) -> None:
        """kill -9 the first process of a service, as a crash would; returns once the restart policy has acted."""
        container = self.containers(service)[0]
        while not (before := inspect(container))["State"]["Running"]:
            time.sleep(0.1)
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (now := inspect(container))["RestartCount"] == before["RestartCount"] or not now["State"]["Running"]:
            assert time.monotonic() < deadline, f"{service} was not started again"
            time.sleep(0.1)


def await_passing(container: str, *command: str, timeout_s: float = 300) -> None:
    """Wait until a command in a container succeeds."""
    deadline = time.monotonic() + timeout_s
    while (asked := executed(container, *command)).returncode != 0:
        assert time.monotonic() < deadline, f"{command} fails: {asked.stdout.decode()} {asked.stderr.decode()}"
        time.sleep(0.1)


def executed(container: str, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command in a container; returns the result, failed or not."""
    argv = ["docker", "exec", "--interactive", container, *command]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=START_TIMEOUT_S, check=False)


def _log(container: str) -> str:
    argv = ["docker", "logs", "--timestamps", "--tail", "40", container]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()


def inspect(name: str) -> Any:
    """Docker's description of a container or an image."""
    return json.loads(docker("inspect", name))[0]


@contextmanager
def compose(folder: Path) -> Iterator[Compose]:
    """Start the whole stack; at the end nothing is left of it."""
    env_file = folder / "env"
    subprocess.run([str(ROOT / "docker/env.sh"), str(env_file)], check=True)
    names = ("KAFKA", "S3", "POSTGRES", "ENGINE", "API")
    ports = "".join(f"{name}_PORT={port}\n" for name, port in zip(names, free_ports(len(names)), strict=True))
    with env_file.open("a") as file:
        file.write(ports + "PARTITIONS=4\nWORKER_SESSION_TIMEOUT_S=6\n")
    made = Compose(env_file)
    try:
        made.run("up", "--detach")
        made.await_healthy()
        yield made
    except BaseException as exc:
        exc.add_note(made.logs())
        raise
    finally:
        made.run("--profile", "tools", "down", "--volumes", "--timeout", "5")
