"""What readers may do: a plan from the settings, and a process that tries more."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.sandbox import landlock_abi
from orchestration.answers.confining import plan_of
from orchestration.platform.settings import Secret, Settings

ROOT = Path(__file__).parents[4]
KAFKA = "sasl_ssl://b-1:9096,b-2:9097?mechanism=SCRAM-SHA-512&ca=/certs/ca.pem"


def test_plan_allows_only_ports_and_files_of_store_catalog_and_kafka(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        s3_endpoint="http://127.0.0.1:18333",
        catalog_url=Secret("postgresql+psycopg://u:p@db:6543/muster"),
        kafka_bootstrap=KAFKA,
    )
    plan = plan_of(settings)
    assert plan.ports == (6543, 9096, 9097, 18333)
    assert plan.writable == (tmp_path / "tmp",)
    assert Path("/certs/ca.pem") in plan.readable
    assert tmp_path not in plan.readable
    assert plan_of(settings.with_(catalog_url=Secret("postgresql+psycopg://db/muster"))).ports[0] == 5432


def test_plan_allows_a_catalog_file_and_role_credentials(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, catalog_url=Secret(f"sqlite:///{tmp_path / 'c.db'}"), s3_access_key="")
    plan = plan_of(settings)
    assert [os.path.normpath(path) for path in plan.writable][1].lstrip("/") == str(tmp_path).lstrip("/")
    assert {80, 443} <= set(plan.ports)


ATTEMPTS = """
import json, os, resource, socket, subprocess, sys
from pathlib import Path
from orchestration.platform.settings import Settings
from orchestration.answers.confining import confine, limit_memory
settings = Settings.of_environment(json.loads(sys.argv[1]))
limit_memory(settings)
confine(settings)
def tried(attempt):
    try:
        attempt()
    except OSError as exc:
        return type(exc).__name__
    return "done"
def write(folder):
    Path(folder, "new").write_text("x")
print(json.dumps({
    "passwd": tried(lambda: Path("/etc/passwd").read_text()),
    "own": tried(lambda: write(settings.home / "tmp")),
    "home": tried(lambda: write(settings.home)),
    "token": tried(lambda: Path(settings.home, "token").read_text()),
    "program": tried(lambda: os.execv("/bin/true", ["true"])),
    "store": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))).close()),
    "other": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3]))).close()),
    "memory": resource.getrlimit(resource.RLIMIT_DATA)[0],
}))
"""


@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock of Linux 6.12 or newer is not switched on here")
def test_reader_is_confined_to_its_plan(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "token").write_text("mst_")
    with socket.create_server(("127.0.0.1", 0)) as store, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [one.getsockname()[1] for one in (store, other)]
        settings = Settings(
            home=tmp_path,
            s3_endpoint=f"http://127.0.0.1:{ports[0]}",
            s3_access_key="x",
            catalog_url=Secret("postgresql+psycopg://127.0.0.1:1/muster"),
            kafka_bootstrap="127.0.0.1:2",
        )
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPTS, json.dumps(settings.environment()), *map(str, ports)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert json.loads(done.stdout) == {
        "passwd": "PermissionError",
        "own": "done",
        "home": "PermissionError",
        "token": "PermissionError",
        "program": "PermissionError",
        "store": "done",
        "other": "PermissionError",
        "memory": 2 * settings.duckdb_memory_bytes + 2**30,
    }
