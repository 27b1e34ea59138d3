"""The oracle of the sweep does object when something is wrong."""

from pathlib import Path

import pytest

from tests.clicks import LOGS
from tests.faults.files import SIZES, after, clicks, make_file
from tests.faults.imports import differs, receipt_faults
from tests.faults.readers import Published, as_table, fault_of

OLD = {"ann": (1, "JP"), "bob": (2, None)}
NEW = {"ann": (1, "JP"), "cid": (3, "DE")}


@pytest.fixture
def published() -> Published:
    audience = Published(name="vip", versions={1: as_table(OLD)}, at_least=1)
    audience.expect(NEW)
    return audience


def test_oracle_accepts_the_previous_and_the_new_version(published: Published) -> None:
    assert fault_of(published, (1, as_table(OLD)), at_least=1) is None
    assert fault_of(published, (2, as_table(NEW)), at_least=1) is None
    assert fault_of(Published(name="new"), None, at_least=0) is None


def test_oracle_reports_any_other_content(published: Published) -> None:
    mix = as_table({**OLD, **NEW})
    assert fault_of(published, (2, mix), at_least=1) == "v2 has 3 rows that are not its 2"
    assert fault_of(published, (2, as_table({**NEW, "cid": (4, "DE")})), at_least=1) is not None
    assert fault_of(published, (1, as_table(OLD)), at_least=2) == "v1 after v2"
    assert fault_of(published, (3, as_table(NEW)), at_least=1) == "v3 is a version without an import"
    assert fault_of(published, None, at_least=1) == "no version, after v1"


def test_lost_foreign_and_duplicate_rows_are_counted() -> None:
    assert differs(as_table(NEW), as_table(NEW)) is None
    assert differs(as_table(OLD), as_table(NEW)) == "1 rows lost, 1 foreign, 0 users doubled"
    twice = as_table(NEW).slice(0, 1)
    assert differs(twice.from_batches([*twice.to_batches(), *as_table(NEW).to_batches()]), as_table(NEW)) == (
        "0 rows lost, 1 foreign, 1 users doubled"
    )


def test_files_of_every_format_are_read_back_by_the_oracle(tmp_path: Path) -> None:
    files = [make_file(tmp_path, seed, rows=300) for seed in range(40)]
    assert {f.path.name.partition(".")[2] for f in files} == {"csv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "avro"}
    assert all(f.rows == 300 and 0 < len(f.members) < f.accepted <= 300 for f in files)
    assert any(f.rejected for f in files)
    assert make_file(tmp_path, 7).path.read_bytes() == make_file(tmp_path, 7).path.read_bytes()
    assert any(make_file(tmp_path, seed).rows == min(SIZES) for seed in range(10))


def test_receipt_with_a_wrong_number_is_named(tmp_path: Path) -> None:
    file = make_file(tmp_path, 1, rows=100)
    right = {
        "rows": 100,
        "accepted": file.accepted,
        "rejected": file.rejected,
        "distinct": len(file.members),
        "duplicates": file.accepted - len(file.members),
        "members": len(file.members),
    }
    assert list(receipt_faults(right, file, file.members)) == []
    wrong = right | {"members": 1}
    assert list(receipt_faults(wrong, file, file.members)) == [f"the receipt says members 1, not {len(file.members)}"]
    assert list(receipt_faults(None, file, file.members)) == ["READY without a receipt"]


def test_oracle_derives_the_next_version(tmp_path: Path) -> None:
    base = {"user-1": (1, "JP"), "ann": (2, "DE")}
    replaced, appended, removed = (make_file(tmp_path, 1, rows=50, mode=m) for m in ("replace", "append", "remove"))
    assert after(base, replaced) == replaced.members
    assert after(base, appended) == {**base, **appended.members}
    assert after(base, removed) == {"ann": (2, "DE")} | ({} if "user-1" in removed.members else {"user-1": (1, "JP")})


@pytest.mark.parametrize("name", LOGS)
def test_the_users_of_the_clickstream_are_read_with_their_last_platform(tmp_path: Path, name: str) -> None:
    file = clicks(tmp_path, 1, name)
    assert file.rows > 5_000
    assert 100 < len(file.members) <= 600
    assert {country for _, country in file.members.values()} == {"desktop", "mobile", "tablet"}
