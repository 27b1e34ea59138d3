"""A stack of Muster, and an Airflow that runs everything it has: scheduler, triggerer, API server and DAG processor."""

import json
import os
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import boto3
import pytest

import muster

ROOT: Final = Path(__file__).parents[3]
BUCKET: Final = "shop"
DEADLINE_S: Final = 240.0
ValueT = TypeVar("ValueT")


def until(look: Callable[[], ValueT | None], what: str) -> ValueT:
    """What `look` returns, as soon as it returns something."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {DEADLINE_S:g} s for {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The embedded stack of Muster."""

    access: muster.Access
    s3: Any

    def put(self, key: str, *lines: str) -> None:
        """Put an object where DAGs import from."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body="".join(f"{line}\n" for line in lines).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Airflow:
    """Airflow by its public API."""

    url: str
    token: str
    home: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2{path}", content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def run(self, dag: str, day: str) -> "Run":
        """Trigger a run of a DAG for a day."""

        def unpause() -> bool:
            try:
                return bool(self.call("PATCH", f"/dags/{dag}", {"is_paused": False}))
            except urllib.error.HTTPError as exc:
                if exc.code == 404:
                    return False
                raise

        until(unpause, f"the DAG {dag}; import errors: {self.call('GET', '/importErrors')}")
        run = self.call("POST", f"/dags/{dag}/dagRuns", {"logical_date": f"{day}T00:00:00Z"})
        return Run(airflow=self, dag=dag, run=run["dag_run_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a DAG."""

    airflow: Airflow
    dag: str
    run: str

    @property
    def _path(self) -> str:
        return f"/dags/{self.dag}/dagRuns/{self.run}"

    def tasks(self) -> dict[str, Any]:
        """The tasks of the run, by their names."""
        found = self.airflow.call("GET", f"{self._path}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def ended(self) -> dict[str, tuple[str, int]]:
        """State and number of tries of each task, once the run has ended."""
        until(lambda: self.airflow.call("GET", self._path)["state"] in {"success", "failed"}, f"the end of {self.run}")
        return {name: (task["state"], task["try_number"]) for name, task in self.tasks().items()}

    def xcom(self, task: str, key: str = "return_value") -> Any:
        """What a task has left."""
        return self.airflow.call("GET", f"{self._path}/taskInstances/{task}/xcomEntries/{key}")["value"]

    def deferrals(self, task: str) -> int:
        """How many logs the triggerer has written for a task."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag}" / f"run_id={self.run}" / f"task_id={task}"
        return len(list(folder.glob("*.trigger.*")))


def _environment(**added: str) -> dict[str, str]:
    """The developer's environment, without their own stack and Airflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "AIRFLOW"))} | added


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, started by `muster up`."""
    home = tmp_path_factory.mktemp("muster") / "home"
    env = _environment(MUSTER_HOME=str(home))
    command = str(ROOT / ".venv" / "bin" / "muster")
    try:
        subprocess.run([command, "up", "--free-ports"], env=env, check=True, capture_output=True)
        settings = tomllib.loads((home / "settings.toml").read_text(encoding="utf-8"))
        s3 = boto3.client(
            "s3",
            endpoint_url=settings["s3_endpoint"],
            region_name="us-east-1",
            aws_access_key_id="muster",
            aws_secret_access_key=settings["s3_secret_key"],
        )
        s3.create_bucket(Bucket=BUCKET)
        yield Stack(access=muster.find_access({"MUSTER_HOME": str(home)}), s3=s3)
    finally:
        subprocess.run([command, "down"], env=env, check=True, capture_output=True)


@pytest.fixture(scope="session")
def airflow(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow with the DAG of the tutorial and those of these tests, connected to the stack."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    (dags / "tutorial.py").write_text(_dag_of_the_tutorial(), encoding="utf-8")
    (dags / "retries.py").write_bytes((Path(__file__).parent / "retries_dag.py").read_bytes())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    connection = {"conn_type": "muster", "host": stack.access.url, "password": stack.access.token}
    env = _environment(
        AIRFLOW_HOME=str(home),
        AIRFLOW_CONN_MUSTER_DEFAULT=json.dumps(connection),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(free_port()),
        AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(free_port()),
        PATH=f"{ROOT / '.venv-airflow' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )
    with ExitStack() as leaving:
        log = leaving.enter_context((home / "standalone.log").open("wb"))
        process = subprocess.Popen(["airflow", "standalone"], env=env, stdout=log, stderr=log, start_new_session=True)
        leaving.callback(_end, process)

        def healthy() -> bool:
            assert process.poll() is None, (home / "standalone.log").read_text(encoding="utf-8")[-4000:]
            try:
                with urllib.request.urlopen(f"{url}/api/v2/monitor/health") as answer:
                    parts = json.load(answer)
            except OSError:
                return False
            return all(parts[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))

        until(healthy, "Airflow")
        with urllib.request.urlopen(f"{url}/auth/token") as answer:
            token = json.load(answer)["access_token"]
        yield Airflow(url=url, token=token, home=home)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End Airflow and everything that it has started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    finally:
        try:
            until(lambda: _is_empty(process.pid), "the end of Airflow's processes")
        except AssertionError:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _dag_of_the_tutorial() -> str:
    page = (ROOT / "docs" / "tutorials" / "airflow-and-ci.md").read_text(encoding="utf-8")
    return page.partition("```python dag\n")[2].partition("```")[0]
