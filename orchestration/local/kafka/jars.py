"""Kafka's jars: those in `jgo.lock.toml`, from jgo's cache, checked against the lock's SHA-256.

`jgo --resolver python lock` in this directory writes the lock from `jgo.toml` (the `!` behind a coordinate keeps jgo
from applying that artifact's managed versions to all others: without it the broker would get kafka-clients 3.9.1).
Starting the stack resolves nothing: it reads the lock.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import FatalError, RetriableError

LOCK_FILE: Final = Path(__file__).with_name("jgo.lock.toml")
PARALLEL_DOWNLOADS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedJar:
    """One artifact of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str


def locked_jars(lock_file: Path = LOCK_FILE) -> tuple[LockedJar, ...]:
    """The artifacts in the lock file, in its order."""
    return tuple(
        LockedJar(group=d["groupId"], artifact=d["artifactId"], version=d["version"], sha256=d["sha256"])
        for d in tomllib.loads(lock_file.read_text(encoding="utf-8"))["dependencies"]
    )


def classpath(lock_file: Path = LOCK_FILE) -> str:
    """All jars of a lock file for a plain `-cp`; missing ones are downloaded.

    Checked jars are remembered by size and time in a stamp beside jgo's cache, so that a second start hashes nothing.
    Raises `RetriableError` JARS_UNREACHABLE, `FatalError` JAR_CHANGED.
    """
    jars = locked_jars(lock_file)
    stamp = cache_directory() / f"kafka-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]}.json"
    if (paths := _remembered(stamp)) is None:
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            paths = list(pool.map(_fetch, jars))
        stamp.parent.mkdir(parents=True, exist_ok=True)
        temporary = stamp.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps([[str(p), *_fingerprint(p)] for p in paths]), encoding="utf-8")
        temporary.replace(stamp)
    return os.pathsep.join(map(str, paths))


def cache_directory() -> Path:
    """Directory for files that can be recreated at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster"


def _fingerprint(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _remembered(stamp: Path) -> Sequence[Path] | None:
    try:
        entries = json.loads(stamp.read_text(encoding="utf-8"))
        if all(_fingerprint(Path(path)) == (size, mtime) for path, size, mtime in entries):
            return [Path(entry[0]) for entry in entries]
    except (OSError, ValueError):
        pass
    return None


def _fetch(jar: LockedJar) -> Path:
    from jgo.maven import MavenContext

    try:
        component = MavenContext(timeout=60).project(jar.group, jar.artifact).at_version(jar.version)
        path = Path(component.artifact().resolve())
    except Exception as exc:
        raise RetriableError(
            "JARS_UNREACHABLE",
            f"{jar.group}:{jar.artifact}:{jar.version} could not be downloaded ({exc}); "
            "the first start needs Maven Central",
            artifact=f"{jar.group}:{jar.artifact}:{jar.version}",
        ) from exc
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != jar.sha256:
        raise FatalError(
            "JAR_CHANGED",
            f"{path} has SHA-256 {digest}, but the lock file has {jar.sha256}; delete the file and try again",
            path=str(path),
            expected=jar.sha256,
            actual=digest,
        )
    return path
