"""The corpus, and files mutated from it: read or refused exactly as by the naive readers."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from connectors.sources.limits import MIB
from tests.hostile import corpus_files, fuzzing
from tests.hostile.isolated import DIED, MEMORY_BYTES, RAISED, each

SEED = 1
"""Seed of `make test`; python -m tests.hostile uses others."""


def test_files_of_the_corpus_are_small_and_named_by_their_content() -> None:
    files = [path for suffix in corpus_files.SUFFIXES for path in corpus_files.files(suffix)]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert path.name == corpus_files.name_of(content, path.suffix)
        assert len(content) < corpus_files.LARGEST


def test_corpus_avro_matches_its_known_result() -> None:
    found = {path.name: corpus_files.avro_outcome(path.read_bytes()) for path in corpus_files.files(".avro")}
    assert found == corpus_files.binary_outcomes(".avro")


@pytest.mark.parametrize("block_bytes", [64, 1 << 16])
def test_corpus_csv_and_json_match_the_naive_readers(block_bytes: int) -> None:
    wrong = [corpus_files.csv_verdict(p.read_bytes(), block_bytes=block_bytes) for p in corpus_files.files(".csv")]
    wrong += [corpus_files.jsonl_verdict(p.read_bytes(), block_bytes=block_bytes) for p in corpus_files.files(".jsonl")]
    assert [verdict for verdict in wrong if verdict] == []


def test_corpus_parquet_matches_its_known_result(tmp_path: Path) -> None:
    paths = corpus_files.files(".parquet")
    outcomes = each(partial(corpus_files.parquet_outcome, folder=tmp_path), [p.read_bytes() for p in paths])
    assert dict(zip([path.name for path in paths], outcomes, strict=True)) == corpus_files.binary_outcomes(".parquet")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_mutated_files_match_the_naive_readers(suffix: str) -> None:
    assert list(fuzzing.texts(suffix, 300, SEED)) == []


def test_mutated_avro_matches_the_naive_reader() -> None:
    assert list(fuzzing.avros(300, SEED)) == []


def test_damaged_wrappers_yield_their_content_or_an_error() -> None:
    assert list(fuzzing.wrappers(150, SEED)) == []


def test_damaged_parquet_is_a_named_error_and_never_misread_under_a_checksum(
    tmp_path: Path,
) -> None:
    counts, findings = fuzzing.parquets(150, SEED, tmp_path)
    assert findings == []
    assert counts.refused > counts.unknowable


def _dies_of_deadly(content: bytes) -> str:
    if content == b"deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    if content == b"odd":
        raise KeyError("odd")
    return content.decode()


def test_file_that_kills_its_reader_is_reported_and_the_next_is_read() -> None:
    assert list(each(_dies_of_deadly, [b"a", b"deadly", b"b"])) == ["a", f"{DIED} of SIGSEGV", "b"]


def test_file_whose_reader_raises_is_reported_and_the_next_is_read() -> None:
    assert list(each(_dies_of_deadly, [b"odd", b"b"])) == [f"{RAISED} KeyError('odd')", "b"]


def test_memory_of_the_reader_is_reported() -> None:
    peaks: list[int] = []
    assert list(each(_dies_of_deadly, [b"a", b"b"], peaks)) == ["a", "b"]
    assert len(peaks) == 2
    assert 10 * MIB < min(peaks) <= max(peaks) < MEMORY_BYTES
