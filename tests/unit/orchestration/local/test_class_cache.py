"""The cache of the broker's classes: it speeds up a start, but no start depends on it."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestration.local.kafka import broker, class_cache, warm
from orchestration.local.kafka.jars import classpath
from orchestration.local.ports import pick_free_ports
from schemas.errors import FatalError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the cache."""
    monkeypatch.setattr(class_cache, "cache_directory", lambda: tmp_path)
    return class_cache.cache_path(classpath())


def test_cache_name_contains_jvm_and_jars(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jars = classpath()
    assert class_cache.cache_path(jars) == cache
    of_other_jars = class_cache.cache_path(jars.rpartition(os.pathsep)[0])
    monkeypatch.setattr(class_cache, "version", lambda _: "26.0.0")
    assert len({cache, of_other_jars, class_cache.cache_path(jars)}) == 3


def test_storage_is_formatted_without_a_cache(cache: Path, tmp_path: Path) -> None:
    assert not cache.exists()
    broker.prepare(tmp_path, pick_free_ports())
    assert (tmp_path / "data" / "meta.properties").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 100_000])
def test_jvm_starts_with_an_invalid_cache(cache: Path, content: bytes, tmp_path: Path) -> None:
    cache.write_bytes(content)
    *jvm, _, _ = broker.command(tmp_path)
    assert f"-XX:AOTCache={cache}" in jvm
    started = subprocess.run([*jvm, "-version"], capture_output=True, text=True, check=True)
    assert "aot" not in started.stdout + started.stderr


def test_setup_continues_without_a_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (FatalError("FORMAT_FAILED", "no space"), OSError("no space"), subprocess.SubprocessError("no space")):

        def fails(_: Path, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(warm, "cache_path", lambda _: cache)
        monkeypatch.setattr(warm, "make", fails)
        assert warm.main() == 0
        assert "without its class cache" in (said := capsys.readouterr().err)
        assert "no space" in said
    assert not cache.exists()
