"""Parquet that is odd, damaged or lies: the rows that were written, or a name for what is wrong."""

from pathlib import Path

import pytest

from tests.hostile.isolated import each
from tests.hostile.parquet_cases import KINDS
from tests.hostile.reading import read_parquet


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_the_rows_that_were_written_or_its_fault_has_a_name(kind: str, tmp_path: Path) -> None:
    cases = list(KINDS[kind]())
    by_content = {case.content: case for case in cases}

    def read(content: bytes) -> str:
        case = by_content[content]
        return case.verdict(read_parquet(content, case.spec, tmp_path))

    assert [verdict for verdict in each(read, [case.content for case in cases]) if verdict] == []
