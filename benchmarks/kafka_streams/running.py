"""Compiles and runs `CartSegment.java` with the jars of `jgo.lock.toml` (`jgo --resolver python lock` writes it)."""

from pathlib import Path
from typing import Final

from benchmarks import java
from benchmarks.java_client import client_file
from orchestration.local.kafka.jars import classpath

HERE: Final = Path(__file__).parent
SOURCE: Final = HERE / "CartSegment.java"
LOCK: Final = HERE / "jgo.lock.toml"
COMPILER: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
HEAP: Final = "-Xmx2g"


def compile_to(classes: Path) -> None:
    """Compile the classes of the application."""
    java.run(LOCK, COMPILER, "-17", "-cp", classpath(LOCK), "-d", str(classes), str(SOURCE))


def run(classes: Path, bootstrap: str, topic: str, changes: str, events: int, state: Path, threads: int) -> java.Ran:
    """Run from the first event to the last; the last line of output is JSON."""
    with client_file(bootstrap) as client:
        arguments = (str(client), topic, changes, str(events), str(state), str(threads))
        return java.run(LOCK, HEAP, "CartSegment", *arguments, classes=classes)
