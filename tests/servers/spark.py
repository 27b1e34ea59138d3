"""Spark with Iceberg, from the package registries: pyspark (dependency group `spark`) and jars of Maven Central."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.conftest import unavailable

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
    if find_spec("pyspark") is None:
        unavailable("pyspark: uv sync --group spark")
    _require_java()
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
        [sys.executable, str(path)],
        cwd=folder,
        env={**os.environ, **environment, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _require_java() -> None:
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
