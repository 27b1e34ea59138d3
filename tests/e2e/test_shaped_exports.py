"""Which part of a version an export takes, through the command line."""

import json
from pathlib import Path

import duckdb
import pytest

from tests.e2e.conftest import Muster, imported, write

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
PEOPLE = [f"u{n:02d},{('JP', 'US', '')[n % 3]},{n}" for n in range(30)]


def test_a_part_of_a_version_is_exported_verified_and_imported_again(muster: Muster, tmp_path: Path) -> None:
    columns = ("--column", "country", "--column", "age:long")
    imported(muster, write(tmp_path / "people.csv", "user_id,country,age", *PEOPLE), "people", *columns)
    plans = write(tmp_path / "plans.csv", "user_id,plan", "u03,gold", "u06,free", "u09,", "stranger,gold")
    imported(muster, plans, "plans", "--column", "plan")
    imported(muster, write(tmp_path / "gone.csv", "user_id", "u06", "u01"), "gone")
    shape = ("--where", 'country = "JP" and age >= 3', "--attributes", "plans:plan@1", "--suppress", "gone")
    to = tmp_path / "out"
    answer = muster("export", "people", "--to", to, *shape, "--partition-by", "plan", "--json")
    assert answer.code == 0, answer.err
    selection = answer.json["selection"]
    assert [selection[f"rows_{what}"] for what in ("read", "kept", "filtered", "suppressed")] == [30, 8, 21, 1]
    found = duckdb.sql(f"SELECT user_id, plan FROM read_parquet('{to}/*/*.parquet') WHERE plan IS NOT NULL").fetchall()
    assert found == [("u03", "gold")]
    verified = muster("verify", to / "manifest.json", "--json")
    assert (verified.code, verified.json["difference"]) == (0, None), verified.err

    job = muster("export", "people", "--to", "s3://lake/exports/part", *shape, "--format", "csv", "--wait", "--json")
    assert job.code == 0, job.err
    outcome = job.json["outcome"]
    assert (outcome["rows"], outcome["rows_filtered"], outcome["rows_suppressed"]) == (8, 21, 1)
    assert muster("verify", "s3://lake/exports/part/manifest.json").code == 0

    file = answer.json["files"][0]
    copy = imported(muster, to / file["key"], "matching", "--manifest", str(to / "manifest.json"))
    assert (file["key"].count("/"), copy.json["receipt"]["digest"]) == (1, file["digest"])


def test_invalid_shape_is_refused_before_writing(muster: Muster, tmp_path: Path) -> None:
    imported(muster, write(tmp_path / "people.csv", "user_id,age", "u1,1"), "few", "--column", "age:long")
    refusals = {
        "BAD_FILTER": ("--where", "age = 1; DROP TABLE few"),
        "UNKNOWN_AUDIENCE": ("--suppress", "nobody-there"),
        "NO_SUCH_VERSION": ("--suppress", "few@9"),
        "BAD_SHAPE": ("--attributes", "few"),
        "COLUMN_CLASH": ("--attributes", "few:age"),
        "UNKNOWN_COLUMN": ("--columns", "country"),
        "BAD_FORMAT": ("--row-group-rows", "5"),
        "BASE_VIEW_UNKNOWN": ("--suppress", "few", "--delta-from", "1"),
    }
    for code, options in refusals.items():
        answer = muster("export", "few", "--to", tmp_path / "out", *options)
        assert (answer.code, code in answer.err) == (3, True), answer.err
    assert not (tmp_path / "out").exists()
    failed = muster("export", "few", "--to", "s3://lake/exports/no", "--where", "nothing = 1", "--wait", "--json")
    assert (failed.code, json.loads(failed.out)["error"]["code"]) == (3, "BAD_FILTER")
    export = failed.json["export"]
    again = muster("jobs", "retry", export, "--wait", "--json")
    assert (again.code, again.json["retry_of"], again.json["error"]["code"]) == (3, export, "BAD_FILTER")
    listed = muster("jobs", "list", "--kind", "export", "--audience", "few", "--state", "failed", "--json").json
    assert [one["export"] for one in listed][:2] == [again.json["export"], export]  # then those to the folder
    shown = muster("jobs", "show", again.json["export"]).out.splitlines()
    assert [line.split() for line in shown if line.startswith("retry of")] == [["retry", "of", export]]
    late = muster("jobs", "cancel", export)
    assert (late.code, "TOO_LATE" in late.err) == (3, True), late.err
