"""Parquet that is odd, damaged or lies: the rows that were written, or a name for what is wrong."""

from functools import partial
from pathlib import Path

import pytest

from tests.hostile.isolated import each
from tests.hostile.parquet_cases import KINDS
from tests.hostile.reading import parquet_verdict


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_the_rows_that_were_written_or_its_fault_has_a_name(kind: str, tmp_path: Path) -> None:
    verdicts = each(partial(parquet_verdict, folder=tmp_path), list(KINDS[kind]()))
    assert [verdict for verdict in verdicts if verdict] == []
