from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.lake import row_groups
from connectors.lake.row_groups import batches_of

MIB = 1 << 20
GROUP_ROWS = MIB // 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """48 row groups of a MiB each, of incompressible data."""
    rows = pa.table({"n": np.random.default_rng(1).integers(0, 1 << 62, 48 * GROUP_ROWS)})
    pq.write_table(rows, tmp_path / "f", row_group_size=GROUP_ROWS, use_dictionary=False)
    return tmp_path / "f"


def test_large_file_is_read_with_the_memory_of_a_few_row_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "FETCH_BYTES", 3 * MIB)
    expected, seen, most = pq.read_table(path).column("n"), [], 0
    with pq.ParquetFile(path, pre_buffer=True) as file:
        before = pa.total_allocated_bytes()
        for batch in batches_of(file, 10_000, ["n"]):
            most = max(most, pa.total_allocated_bytes() - before)
            seen.append(batch.column(0).to_numpy().copy())
    assert np.array_equal(np.concatenate(seen), expected.to_numpy())
    assert most < 12 * MIB
    assert max(map(len, seen)) == 10_000


@pytest.mark.parametrize(
    ("held", "groups"),
    [(1, [[n] for n in range(48)]), (16 * MIB + MIB // 2, [[*range(16)], [*range(16, 32)], [*range(32, 48)]])],
)
def test_row_groups_are_combined_up_to_the_limit(
    path: Path, held: int, groups: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "FETCH_BYTES", held)
    assert list(row_groups._grouped(pq.read_metadata(path))) == groups


def test_a_file_without_rows_has_no_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "f")
    with pq.ParquetFile(tmp_path / "f", pre_buffer=True) as file:
        assert sum(batch.num_rows for batch in batches_of(file, 10)) == 0
