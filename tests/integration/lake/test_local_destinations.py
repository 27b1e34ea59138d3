"""Exports into a folder: unusable paths, existing content, and a full disk."""

import fcntl
import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.sinks.addresses import local_path, s3_object, s3_prefix
from connectors.sinks.destinations import Destination, destination
from connectors.sinks.export_files import write_files
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import export
from connectors.sinks.local_folder import LocalFolder
from connectors.sinks.selection import PinnedVersion
from connectors.sinks.stages import Stages
from connectors.storage.access import S3Access
from schemas.columns import RowSchema
from schemas.errors import RetriableError, UserError
from schemas.ids import new_job_id
from schemas.manifest import ExportFormat
from tests.integration.lake.support import BUCKET, audience, limits, new_id
from tests.integration.lake.test_exporting import FORMATS, Lake, name_of
from tests.raising import raised

NOWHERE = S3Access(endpoint="http://127.0.0.1:9", region="us-east-1")
_numbers = itertools.count()


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Act as a user who may not write there; root may write everywhere, so it becomes the user nobody."""
    folder.chmod(0o500)
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


@contextmanager
def full_disk() -> Iterator[Callable[[int], None]]:
    """A function that fills the disk for this process: no file may grow beyond a size, so writes fail half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda most_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def open_files() -> Iterator[str]:
    """Files that this process has open, including deleted ones."""
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the handle of this loop
            yield str(handle.readlink())


def put(folder: Path, name: str, content: bytes) -> None:
    """Put a file as an export does."""
    to = LocalFolder(folder)
    with to.scratch(folder) as scratch:
        (scratch / name).write_bytes(content)
        to.put(scratch / name, name)


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_file_is_refused_as_a_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("kept")
    error = raised(UserError, LocalFolder(tmp_path / "file" / below).check)
    assert error.code == "DESTINATION_NOT_WRITABLE"
    assert str(tmp_path / "file") in error.message
    assert (tmp_path / "file").read_text() == "kept"


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    with without_rights(folder):
        for to in (folder, folder / "new"):
            error = raised(UserError, LocalFolder(to).check)
            assert error.code == "DESTINATION_NOT_WRITABLE"
            assert "Permission denied; choose a writable folder" in error.message


def test_folder_check_creates_an_empty_folder(tmp_path: Path) -> None:
    LocalFolder(tmp_path / "a" / "b").check()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_links_to_folders_are_followed_but_not_links_to_files(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    content = b"c" * len(str(tmp_path / "secret"))  # the size of a link to it
    (tmp_path / "secret").write_bytes(content)
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    put(tmp_path / "out", "one", content)
    assert (tmp_path / "disk" / "one").read_bytes() == content
    for name, target in (("two", tmp_path / "secret"), ("three", tmp_path / "nothing")):
        (tmp_path / "disk" / name).symlink_to(target)
        error = raised(UserError, lambda name=name: put(tmp_path / "out", name, content))  # type: ignore[misc]
        assert error.code == "DESTINATION_KEY_TAKEN"
    (tmp_path / "disk" / "manifest.json").symlink_to(tmp_path / "nothing")
    assert not LocalFolder(tmp_path / "out").put_manifest(b"{}")
    assert (tmp_path / "secret").read_bytes() == content
    assert not (tmp_path / "nothing").exists()


def test_foreign_file_with_an_export_name_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "one", b"ours")
    put(tmp_path, "one", b"ours")
    for other in (b"else", b"longer than ours", b""):
        error = raised(UserError, lambda other=other: put(tmp_path, "one", other))  # type: ignore[misc]
        assert (error.code, error.detail["key"]) == ("DESTINATION_KEY_TAKEN", str(tmp_path / "one"))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("one", b"ours")]
    (tmp_path / "folder").mkdir()
    assert raised(UserError, lambda: put(tmp_path, "folder", b"")).code == "DESTINATION_KEY_TAKEN"


def test_leftovers_of_dead_exports_are_removed_but_not_of_live_ones(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from connectors.sinks.local_folder import LocalFolder\n"
        "with LocalFolder(Path(sys.argv[1])).scratch(Path()) as scratch:\n"
        "    (scratch / 'half').write_bytes(b'x'); os._exit(9)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert (died.returncode, len(list(tmp_path.iterdir()))) == (9, 1)
    with LocalFolder(tmp_path).scratch(tmp_path) as lives:
        assert list(tmp_path.iterdir()) == [lives]
        put(tmp_path, "one", b"ours")
        assert sorted(tmp_path.iterdir()) == sorted([lives, tmp_path / "one"])
    assert list(tmp_path.iterdir()) == [tmp_path / "one"]


def test_unlockable_folder_is_still_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems."""

    def no_locks(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    put(tmp_path, "one", b"ours")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_full_disk_leaves_no_manifest(tmp_path: Path) -> None:
    with full_disk() as fill:
        fill(10)
        error = raised(UserError, lambda: LocalFolder(tmp_path).put_manifest(b"{" + b" " * 100 + b"}"))
    assert (error.code, error.detail["path"]) == ("DESTINATION_FULL", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most_bytes", [1_000, 300_000], ids=["at once", "midway"])
@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
def test_file_on_a_full_disk_is_closed_and_removed(tmp_path: Path, format_: ExportFormat, most_bytes: int) -> None:
    """A file left open would keep the disk full."""
    rows = pa.table({"user_id": [os.urandom(90).hex() for _ in range(20_000)]})
    with full_disk() as fill:
        fill(most_bytes)
        with Stages() as stages:
            files = write_files(
                rows.to_batches(5_000), RowSchema(), format_, tmp_path, stem="x", target_bytes=2**30, stages=stages
            )
            with pytest.raises(OSError, match="File too large"):
                list(files)
    assert list(tmp_path.iterdir()) == []
    assert [name for name in open_files() if str(tmp_path) in name] == []


@pytest.fixture(scope="module")
def published(s3: S3Access, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("lake")
    url = f"sqlite:///{folder / 'c.db'}"
    store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(folder))
    return Lake(s3, folder, store, audience())


@pytest.fixture
def lake(published: Lake, tmp_path: Path) -> Lake:
    """The shared lake, with a folder for each test."""
    return replace(published, folder=tmp_path)


@pytest.fixture(scope="module")
def version(published: Lake) -> PinnedVersion:
    return published.publish([{"user_id": os.urandom(90).hex()} for _ in range(20_000)], RowSchema(), "1", partitions=2)


@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
@pytest.mark.parametrize("where", ["local", "s3"])
def test_full_disk_ends_an_export_by_path_and_leaves_no_files(
    lake: Lake, version: PinnedVersion, format_: ExportFormat, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up once the first file is in place; that file is removed, unless a repeat needs it."""
    out = lake.folder / "out"
    to = str(out) if where == "local" else f"s3://{BUCKET}/exports/{new_id()}"
    order = ExportOrder(
        export_id=new_job_id(1_764_000_000_000, next(_numbers).to_bytes(10, "big")),
        tenant="acme",
        audience="vip",
        version=version,
        format=format_,
        created_at="2026-11-25T00:00:00Z",
        target_bytes=1,
    )

    def run(place: Destination) -> None:
        export(order, place, s3=lake.s3, limits=limits(lake.folder))

    full = destination(to, lake.s3)
    put_file: list[str] = []
    with full_disk() as fill:
        put_one = full.put

        def put_and_fill(path: Path, key: str) -> None:
            put_one(path, key)
            put_file.append(key)
            fill(700_000)

        monkeypatch.setattr(full, "put", put_and_fill)
        error = raised(UserError if where == "local" else RetriableError, lambda: run(full))
    assert len(put_file) == 1
    scratch = limits(lake.folder).temp_directory / "export"
    expected = ("DESTINATION_FULL", str(out)) if where == "local" else ("SCRATCH_FULL", str(scratch))
    assert (error.code, error.detail["path"]) == expected
    assert list(scratch.iterdir()) == []
    if where == "local":
        assert list(out.iterdir()) == []
    run(destination(to, lake.s3))  # there is room again
    assert lake.check(to)[1] is None


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/../other",
        "s3://bucket/a/../../other",
        "s3://bucket/.",
        "s3://bucket/a/./b",
        "s3://bucket//a",
        "s3://bucket/a//b",
        "s3://bucket/a//",
        "s3://bucket/a\nb",
        "s3://bucket/a\x00b",
        "s3://bucket/a\x7fb",
        "s3://bucket/a\u0085b",
        "s3://bucket/a\u2028b",
        "s3://bucket/\ud800",
        "s3://bucket/" + "x" * 769,
        "s3://bucket/" + "\u65e5" * 300,
        "s3://../a",
        "s3://b/a",
        "s3://bu cket/a",
        "s3://user:secret@bucket/a",
        "s3:///a",
        "s3://",
        "gs://bucket/a",
        "file:///etc",
    ],
)
def test_address_with_a_misleading_path_is_refused(uri: str) -> None:
    error = raised(UserError, lambda: destination(uri, NOWHERE))
    assert error.code == "BAD_URI"
    assert not any(ord(char) < 32 for char in error.message)


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("s3://bucket", ""),
        ("s3://bucket/", ""),
        ("s3://bucket/a", "a/"),
        ("s3://bucket/a/", "a/"),
        ("s3://bucket/a b/..c/d..", "a b/..c/d../"),
        ("s3://bucket/%2e%2e/x", "%2e%2e/x/"),
        ("s3://bucket/\u65e5\u672c", "\u65e5\u672c/"),
        ("s3://bucket/" + "x" * 768, "x" * 768 + "/"),
    ],
)
def test_prefix_is_taken_literally(uri: str, prefix: str) -> None:
    assert s3_prefix(uri) == ("bucket", prefix)


def test_object_address_requires_a_name() -> None:
    assert s3_object("s3://bucket/" + "x" * 1024) == ("bucket", "x" * 1024)
    for uri in (
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a/",
        "s3://bucket/../x.parquet",
        "s3://bucket/" + "x" * 1025,
    ):
        assert raised(UserError, lambda uri=uri: s3_object(uri)).code == "BAD_URI"  # type: ignore[misc]


@pytest.mark.parametrize("path", ["", " ", "s3:/bucket/a", "S3:/bucket", "kafka:/topic", "out\nput", "a\x00b"])
def test_invalid_path_or_uri_is_refused(path: str) -> None:
    assert raised(UserError, lambda: destination(path, NOWHERE)).code == "BAD_URI"


def test_valid_paths_are_accepted_unchanged() -> None:
    for path in ("out", "../out", "/srv/a:b/c", "C:/x", "\u65e5\u672c \U0001f642", "a\\b"):
        assert local_path(path) == Path(path)
