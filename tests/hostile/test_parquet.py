"""Odd, damaged or lying Parquet files: the rows that were written, or a named error."""

from functools import partial
from pathlib import Path

import pytest

from tests.hostile.csv_ends import flipped
from tests.hostile.isolated import each
from tests.hostile.parquet_bytes import page_data
from tests.hostile.parquet_cases import CLEAN, KINDS, PARQUET_SPEC, WRITERS, clean
from tests.hostile.reading import parquet_verdict, read_parquet


@pytest.mark.parametrize("kind", KINDS)
def test_parquet_file_yields_its_rows_or_a_named_error(kind: str, tmp_path: Path) -> None:
    verdicts = each(partial(parquet_verdict, folder=tmp_path), list(KINDS[kind]()))
    assert [verdict for verdict in verdicts if verdict] == []


def test_flipped_bit_under_a_checksum_is_detected_in_each_kept_column(tmp_path: Path) -> None:
    """Read in this process, since no bit of a plain page kills it."""
    content = clean(**WRITERS["plain, checksums"])
    pages = [flipped(content, (start + end) // 2) for start, end in page_data(content)]
    *kept, other = [read_parquet(page, PARQUET_SPEC, tmp_path) for page in pages]
    assert [outcome.refusal for outcome in kept] == ["CORRUPT_FILE"] * 6
    assert other.rows == CLEAN.rows
