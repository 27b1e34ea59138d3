"""The table of metrics in the docs is the one in the code."""

from pathlib import Path

import pytest

from schemas.metrics import CHUNKS, METRICS, ROWS

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_docs_list_exactly_the_metrics() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{m.name}` | {m.type} | {', '.join(m.labels) or '-'} | {m.help} |" for m in METRICS.values()]


def test_a_sample_shows_its_labels() -> None:
    assert CHUNKS.sample(3, result="kept") == 'muster_worker_chunks_total{result="kept"}=3'
    assert ROWS.sample(5_000) == "muster_worker_rows_total=5000"


def test_a_sample_without_its_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        CHUNKS.sample(3)
