"""Spark with Iceberg, from the package registries: pyspark (dependency group `spark-server`) and jars of Maven Central.

pyspark has the files of the client that the product uses too, so it is in an environment of its own, `.venv-spark`.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from connectors.storage.access import S3Access
from orchestration.local import processes
from tests.conftest import unavailable
from tests.servers.ports import free_ports
from tests.trees import ROOT

PYTHON: Final = ROOT / ".venv-spark" / "bin" / "python"
JARS: Final = (
    ("org.apache.iceberg", "iceberg-spark-runtime-4.0_2.13", "1.10.0"),
    ("org.apache.iceberg", "iceberg-aws-bundle", "1.10.0"),
    ("org.xerial", "sqlite-jdbc", "3.50.3.0"),
)
JAVA: Final = range(17, 22)
"""Java releases that Spark 4.0 supports."""
TIMEOUT_S: Final = 240


def run_with_spark(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script, with `spark` as a session, in its own process; returns its output.

    Skips without Spark or a Java release it supports, and fails then in CI.
    """
    _require_spark()
    start = (
        "from pyspark.sql import SparkSession\n"
        "spark = (SparkSession.builder.master('local[2]').appName('querying')\n"
        f"  .config('spark.jars', {','.join(_jars())!r})\n"
        "  .config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1')\n"
        "  .config('spark.driver.memory', '1g').config('spark.ui.enabled', 'false')\n"
        "  .config('spark.sql.session.timeZone', 'UTC').config('spark.sql.shuffle.partitions', '2')\n"
        f"  .config('spark.sql.warehouse.dir', {str(folder / 'warehouse')!r}).getOrCreate())\n"
    )
    path = folder / "example.py"
    path.write_text(start + script, encoding="utf-8")
    done = subprocess.run(
        [str(PYTHON), str(path)],
        cwd=folder,
        env={**os.environ, **environment, "PYSPARK_PYTHON": str(PYTHON), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@contextmanager
def spark_connect(folder: Path, s3: S3Access, catalog: Path, *, bucket: str = "lake") -> Iterator[str]:
    """A Connect server in a process of its own, whose catalog `muster` is the SQLite file; yields its address."""
    _require_spark()
    [port] = free_ports(1)
    conf = {
        "spark.jars": ",".join(_jars()),
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "Asia/Kolkata",  # no session of Muster may depend on it
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.catalog.muster": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.muster.type": "jdbc",
        "spark.sql.catalog.muster.uri": f"jdbc:sqlite:{catalog}",
        "spark.sql.catalog.muster.jdbc.schema-version": "V1",
        "spark.sql.catalog.muster.warehouse": f"s3://{bucket}/",
        "spark.sql.catalog.muster.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.muster.client.region": s3.region,
        "spark.sql.catalog.muster.s3.endpoint": s3.endpoint,
        "spark.sql.catalog.muster.s3.path-style-access": "true",
        "spark.sql.catalog.muster.s3.access-key-id": s3.access_key,
        "spark.sql.catalog.muster.s3.secret-access-key": s3.secret_key,
    }
    command = [str(PYTHON.parent / "spark-submit"), "--master", "local[2]", "--driver-memory", "1g"]
    for name, value in conf.items():
        command += ["--conf", f"{name}={value}"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"}
    log = folder / "spark.log"
    server = processes.spawn(command, env=environment, output=log)
    try:
        _wait_until_it_answers(port, server, log)
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.kill()  # nothing of it is needed again
        server.wait()


def _wait_until_it_answers(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise AssertionError(f"Spark did not start: {log.read_text()[-3000:]}")


def _require_spark() -> None:
    if not PYTHON.exists():
        unavailable("Spark: UV_PROJECT_ENVIRONMENT=.venv-spark uv sync --only-group spark-server")
    if shutil.which("java") is None:
        unavailable("a Java for Spark")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    release = int(said.split('"')[1].split(".")[0])
    if release not in JAVA:
        unavailable(f"Java {JAVA[0]} to {JAVA[-1]} for Spark; there is {release}")


def _jars() -> list[str]:
    from jgo.maven import MavenContext  # noqa: PLC0415  # slow, and only here

    maven = MavenContext(timeout=60)
    return [str(maven.project(group, name).at_version(version).artifact().resolve()) for group, name, version in JARS]
