"""Expensive files end with a named error, in bounded memory."""

from pathlib import Path

import pytest

from connectors.sources.rejects import COLUMN_MAX_CHARACTERS
from connectors.sources.suggestion import Layout, suggest
from schemas.errors import UserError
from tests.hostile.bombs import BOMBS, QUICK, Bomb
from tests.hostile.parquet_bytes import patched_counts
from tests.unit.connectors.sources.reading import parse_file, read_csv, spec_of


@pytest.mark.parametrize("bomb", [b for b in BOMBS if b.name in QUICK], ids=lambda bomb: bomb.name)
def test_bomb_ends_with_a_named_error_in_bounded_memory(bomb: Bomb, tmp_path: Path) -> None:
    assert bomb.verdict(tmp_path)[0] == ""


def test_quick_bombs_are_really_bombs() -> None:
    assert {bomb.name for bomb in BOMBS} >= QUICK


@pytest.mark.timeout(60)
def test_hundred_thousand_column_names_are_counted_quickly() -> None:
    """Searching the list for each name would take an hour."""
    assert suggest(Layout(columns=[(f"c{n}", "string") for n in range(100_000)])).id_column == "c0"


def test_column_name_is_truncated_in_rejects() -> None:
    found = read_csv(b"user_id," + b"x" * 5_000 + b'\na,"x"y\n')
    assert found.rejects[0].column == "x" * COLUMN_MAX_CHARACTERS


def test_a_footer_that_hides_rows_is_corrupt(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    file.write_bytes(patched_counts(rows=100, said=99))
    with pytest.raises(UserError, match=r"CORRUPT_FILE.* 99 rows, but its column 0 declares 100 values"):
        parse_file(file, spec=spec_of())
