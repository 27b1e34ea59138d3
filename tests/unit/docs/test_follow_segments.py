"""The sample consumer of segment changes: what counts, where it begins, and what it refuses to continue with."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from tests.fakes.receivers import script

MEMBERS = ["ann", "bob"]


@pytest.fixture
def sample() -> ModuleType:
    return script("follow_segments")


def changes(seq: int, *users: str, generation: int = 40, segment: str = "buyers") -> dict[str, Any]:
    """A message: `+ann` enters, `-ann` leaves."""
    columns = {
        "user_id": [user[1:] for user in users],
        "entered": [user[0] == "+" for user in users],
        "effective_at": ["2026-11-25"] * len(users),
    }
    batch, sink = pa.RecordBatch.from_pydict(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    named = {"tenant": "acme", "segment": segment, "cause": "event"}
    return {**named, "generation": generation, "seq": seq, "rows": sink.getvalue().to_pybytes()}


def export(folder: Path, **changed: Any) -> list[Path]:
    """The manifest of a snapshot of `MEMBERS` in one partition, and its receipt."""
    verify = script("verify_export")
    text = "".join(json.dumps({"user_id": user}) + "\n" for user in MEMBERS)
    (folder / "vip.jsonl").write_text(text)
    count, *lanes = verify.digest([[user] for user in MEMBERS], ["string"])
    digest = f"x:{count}:{lanes[0]:x}:{lanes[1]:x}"
    file = {"key": "vip.jsonl", "rows": 2, "bytes": len(text), "digest": digest, "min": "ann", "max": "bob"}
    manifest = {
        "tenant": "acme",
        "audience": "buyers-snapshot",
        "version": 3,
        "snapshot_id": 9,
        "delta": None,
        "rows": 2,
        "members": 2,
        "digest": digest,
        "schema": [{"name": "user_id", "type": "string"}],
        "format": {"name": "jsonl", "compression": "none"},
        "files": [{**file, "sha256": verify.hashlib.sha256(text.encode()).hexdigest()}],
    } | changed
    receipt = {name: manifest[name] for name in ("tenant", "audience", "snapshot_id")} | {
        "version": 3,
        "snapshot": {"segment": "buyers"},
        "partitions": [{"partition": 0, "changes": 50, "generation": 40}],
    }
    paths = [folder / "manifest.json", folder / "receipt.json"]
    for path, document in zip(paths, (manifest, receipt), strict=True):
        path.write_text(json.dumps(document))
    return paths


def begun(sample: ModuleType, folder: Path) -> Any:
    memberships = sample.Memberships()
    memberships.begin(*export(folder))
    return memberships


def inside(memberships: Any) -> list[tuple[str, str]]:
    return list(memberships.db.execute("SELECT segment, user FROM members ORDER BY segment, user"))


def read(memberships: Any, offset: int, message: dict[str, Any]) -> list[str]:
    """Users reported for a message of partition 0."""
    return [row["user_id"] for row in memberships.take(0, offset, "MembershipChanges", message)]


def test_changes_follow_from_their_snapshot(sample: ModuleType, tmp_path: Path) -> None:
    memberships = begun(sample, tmp_path)
    assert memberships.offsets() == {0: 50}
    assert inside(memberships) == [("buyers", "ann"), ("buyers", "bob")]
    assert read(memberships, 50, changes(7, "+eve", generation=39)) == []  # from an owner that was replaced
    assert read(memberships, 51, changes(812, "-ann", "+cid")) == ["ann", "cid"]  # the first message may have any seq
    assert read(memberships, 52, changes(813, "+ann", segment="others")) == []
    assert read(memberships, 53, changes(812, "-ann", "+cid")) == []  # a repetition
    assert read(memberships, 54, changes(814, "-bob")) == ["bob"]
    assert inside(memberships) == [("buyers", "cid")]
    assert memberships.offsets() == {0: 55}


def test_all_segments_are_followed_from_the_beginning_of_the_topic(sample: ModuleType) -> None:
    memberships = sample.Memberships()
    assert memberships.take(0, 0, "OwnerStarted", {}) == []
    assert read(memberships, 1, changes(0, "+ann", generation=0)) == ["ann"]
    assert read(memberships, 2, changes(1, "+ann", generation=0, segment="others")) == ["ann"]
    assert memberships.take(0, 3, None, None) == []
    assert inside(memberships) == [("buyers", "ann"), ("others", "ann")]
    assert memberships.offsets() == {0: 4}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (changes(2, "+cid", generation=60), "offset 61: messages 0..1 are missing"),
        (changes(0, "+ann", generation=60), "offset 61: duplicate change of ('acme', 'buyers', 'ann')"),
        (changes(0, "-cid", generation=60), "offset 61: duplicate change of ('acme', 'buyers', 'cid')"),
    ],
)
def test_contradicting_changes_are_refused_whole(
    sample: ModuleType, tmp_path: Path, message: dict[str, Any], why: str
) -> None:
    memberships = begun(sample, tmp_path)
    memberships.take(0, 60, "OwnerStarted", {})
    memberships.db.commit()
    with pytest.raises(sample.ContradictionError) as refused, memberships.db:
        read(memberships, 61, message)
    assert str(refused.value) == f"partition 0 {why}"
    assert (inside(memberships), memberships.offsets()) == ([("buyers", "ann"), ("buyers", "bob")], {0: 61})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 4}, "the receipt has version 3, the manifest 4"),
        ({"delta": {"version": 2}}, "this is not an export of all members"),
        ({"members": 3}, "this is not an export of all members"),
        ({"digest": "x:2:0:0"}, "the rows come to"),
    ],
)
def test_partial_export_of_a_snapshot_is_refused_as_a_start(
    sample: ModuleType, tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    memberships = sample.Memberships()
    with pytest.raises(sample.ContradictionError, match=why):
        memberships.begin(*export(tmp_path, **changed))
    assert (inside(memberships), memberships.offsets()) == ([], {})


def test_store_continues_at_its_position(sample: ModuleType, tmp_path: Path) -> None:
    store = tmp_path / "members.sqlite"
    first = sample.Memberships(store)
    first.begin(*export(tmp_path))
    with first.db:
        read(first, 50, changes(3, "+cid"))
    read(first, 51, changes(4, "-cid"))  # and it dies before this is committed
    first.db.close()
    again = sample.Memberships(store)
    assert (again.offsets(), again.followed) == ({0: 51}, ("acme", "buyers"))
    assert read(again, 51, changes(4, "-cid")) == ["cid"]
