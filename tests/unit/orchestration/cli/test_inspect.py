"""`muster inspect`: `muster import` accepts what it suggests, down to the last option."""

import gzip
import json
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.completion import complete_spec
from connectors.sources.limits import ParseLimits
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_file
from orchestration.cli.main import main
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec, kind_of_target
from tests.fakes.import_log import NoRejects
from tests.unit.orchestration.cli.conftest import Requested

TIMES = "user_id,seen,day,old\nu1,2026-01-01T10:00:00,2026-01-01,true\nu2,2026-01-02T10:00:00Z,,false\n"
ORDERS = "uid,Event Name,ts,total,day\nu1,order,2026-01-01T10:00:00,5,2026-01-01\nu2,,2026-01-01 11:00:00,6,\n"
LINES = (
    '{"user_id": "a", "event": "e", "occurred_at": "2026-01-01T10:00:00Z", "n": 1, "nest": [1], "d": "2026-01-01"}\n'
)
WIDE = ",".join(["user_id", *(f"c{n}" for n in range(70))]) + "\n" + ",".join(["u", *(["1"] * 70)]) + "\n"
NOW = pa.array(["2026-01-01T10:00:00Z"]).cast(pa.timestamp("us", "UTC"))
TABLE = {"user_id": ["u"], "event": ["e"], "occurred_at": NOW, "since": NOW, "n": [1], "at:x=y": ["v"]}
PRICES = {**TABLE, "price": pa.array([Decimal("12.30")], pa.decimal128(12, 2))}


@pytest.mark.parametrize(
    ("name", "content", "kind", "rows", "rejected"),
    [
        ("times.csv", TIMES, "audience", 2, 0),
        ("times.csv", TIMES, "profiles", 2, 0),
        ("plain.csv", "user_id,event,occurred_at\nu1,e,2026-01-01T10:00:00\n", "events", 1, 0),
        ("orders.csv", ORDERS, "audience", 2, 0),
        ("orders.csv", ORDERS, "events", 2, 1),
        ("orders.csv", ORDERS, "profiles", 2, 0),
        ("it's a file.jsonl", LINES, "events", 1, 0),
        ("it's a file.jsonl", LINES, "profiles", 1, 0),
        ("wide.csv", WIDE, "audience", 1, 0),
        ("wide.csv", WIDE, "profiles", 1, 0),
        ("bad.csv.gz", "user_id,a\nx,1\ny\n", "audience", 2, 1),
        ("gone.csv", "user_id,deleted\na,1\nb,\n", "profiles", 2, 0),
        ("f.parquet", TABLE, "events", 1, 0),
        ("f.parquet", TABLE, "profiles", 1, 0),
        ("f.parquet", TABLE, "audience", 1, 0),
        ("f.parquet", PRICES, "audience", 1, 0),
        ("f.parquet", PRICES, "events", 1, 0),
        ("f.parquet", PRICES, "profiles", 1, 0),
    ],
)
def test_suggested_import_is_accepted(
    tmp_path: Path,
    requested: Requested,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: Any,
    kind: str,
    rows: int,
    rejected: int,
) -> None:
    file = tmp_path / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), file)
    else:
        file.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    assert main(["inspect", str(file), "--kind", kind]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:2] == ["muster", "import"]
    assert main(["vip" if word == "NAME" else word for word in command[1:]]) == 0, capsys.readouterr().err
    [(source, target, changes)] = requested
    of = kind_of_target(target)
    spec = ImportSpec().with_changes(changes) if of == "audience" else activity_spec(of, changes)
    if spec.other_columns:
        spec = complete_spec(Path(source), spec, ParseLimits())
    found: Evidence = verify_file(
        Path(source), spec, partitions=2, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )
    assert (of, source, found.rows, found.rejected) == (kind, str(file), rows, rejected)


def test_event_columns_with_numbers_and_roles_are_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.csv").write_text(ORDERS)
    assert main(["inspect", str(tmp_path / "o.csv"), "--kind", "events", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert shlex.split(said["import"])[3:] == [
        *("--kind", "events", "--id-column", "uid", "--column", "event=Event Name"),
        *("--column", "occurred_at:timestamp=ts", "--column", "total:double"),
        *("--timezone", "UTC", "--max-reject-share", "0.5000"),
    ]
    [times] = said["hints"]
    assert times.startswith("times without an offset in 'ts': ")
    assert times.endswith(": --timezone UTC")


def test_unlikely_event_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("user_id,n\na,1\n")
    assert main(["inspect", str(tmp_path / "a.csv"), "--kind", "events"]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("note: as events: no column looks like event: name it with --column event=")
    assert main(["inspect", str(tmp_path / "a.csv"), "--kind", "users"]) == 2
