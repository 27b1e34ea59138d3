"""The examples for Spark in docs/querying.md, on Spark itself."""

import json
from pathlib import Path

import pytest

from connectors.lake.store import IcebergVersionStore
from tests.integration.lake.support import BUCKET, limits, object_server
from tests.servers.querying import ANSWER, Place, arrange, blocks, counted
from tests.servers.spark import run_with_spark

pytestmark = pytest.mark.containers

ROWS = "print(json.dumps([list(row) for row in {}.collect()]))\n"


@pytest.mark.timeout(600)
def test_documented_examples_run_on_spark(tmp_path: Path) -> None:
    (tmp_path / "weed").mkdir()
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    with object_server(tmp_path / "weed") as s3:
        store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
        place = arrange(tmp_path, s3, store, url)
        store.close()
        examples = [block.text for block in blocks() if block.engine == "spark"]
        out = run_with_spark("import json\n" + "".join(_script(place, text) for text in examples), tmp_path, {})
    answers = [json.loads(line) for line in out.splitlines()]
    assert [counted(rows) for rows in answers] == [ANSWER, ANSWER]


def _script(place: Place, example: str) -> str:
    text = place.filled(example)
    if text.lstrip().startswith("SELECT"):
        return ROWS.format(f"spark.sql({text!r})")
    return text + (ROWS.format("result") if "result =" in text else "")
