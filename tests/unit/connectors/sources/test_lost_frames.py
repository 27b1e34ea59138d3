"""A child that reports something other than it sent, or nothing: the parent never believes it."""

import os
from pathlib import Path

import pytest

from connectors.confinement import PACKAGE_ROOT
from connectors.sources import fork_server, parsing
from connectors.sources.frames import FrameKind, FrameReader, write_frame
from connectors.sources.parsing import open_parsed
from connectors.storage.errors import translated
from schemas.errors import FatalError
from tests.unit.connectors.sources.reading import spec_of


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(b"user_id\n" + b"".join(b"user-%d\n" % n for n in range(1000)))
    return path


def code_of_reading(path: Path) -> str:
    with open_parsed(path, spec_of()) as parsed, pytest.raises(FatalError) as caught:
        list(parsed)
    with pytest.raises(RuntimeError):  # and there is no summary
        _ = parsed.summary
    return caught.value.code


class Lossy(FrameReader):
    """Loses the first frame of rows."""

    def next_frame(self, timeout_s: float) -> tuple[FrameKind, bytearray] | None:
        frame = super().next_frame(timeout_s)
        return self.next_frame(timeout_s) if frame is not None and frame[0] is FrameKind.ACCEPTED else frame


class Garbled(FrameReader):
    """Delivers every frame of rows with other bytes."""

    def next_frame(self, timeout_s: float) -> tuple[FrameKind, bytearray] | None:
        frame = super().next_frame(timeout_s)
        return (frame[0], bytearray(b"rubbish")) if frame is not None and frame[0] is FrameKind.ACCEPTED else frame


def test_rows_lost_between_child_and_parent_are_detected(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "FrameReader", Lossy)
    assert code_of_reading(people) == "ROWS_LOST"


def test_malformed_batch_from_the_child_is_not_trusted(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "FrameReader", Garbled)
    assert code_of_reading(people) == "BAD_FRAME"


def test_file_that_grows_during_reading_counts_as_changed(people: Path) -> None:
    with open_parsed(people, spec_of()) as parsed:
        parsed._source_size -= 1  # as if the file had been shorter when opened
        with pytest.raises(FatalError) as caught:
            list(parsed)
    assert caught.value.code == "BYTES_LOST"


@pytest.mark.usefixtures("new_fork_server")
def test_child_that_ends_silently_is_an_internal_error(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = "from connectors.sources import child\nchild.run = lambda control_fd: 3\n"
    (tmp_path / "sitecustomize.py").write_text(silent)
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{PACKAGE_ROOT}")
    assert code_of_reading(people) == "PARSER_FAILED"


def test_bytes_outside_a_frame_are_not_awaited() -> None:
    reading, writing = os.pipe()
    try:
        write_frame(writing, FrameKind.ACCEPTED, b"rows")
        os.write(writing, b"\xff" * 9)
        reader = FrameReader(reading)
        assert reader.next_frame(1) == (FrameKind.ACCEPTED, bytearray(b"rows"))
        with pytest.raises(FatalError) as caught:
            reader.next_frame(1)
    finally:
        os.close(reading)
        os.close(writing)
    assert caught.value.code == "BAD_FRAME"


def test_request_the_store_always_refuses_is_fatal() -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415  # only this test needs it

    response = {"Error": {"Code": "InvalidRequest"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    with pytest.raises(FatalError) as caught, translated("inbox", "a.csv"):
        raise ClientError(response, "GetObject")  # type: ignore[arg-type]  # the part of it that is looked at
    assert caught.value.code == "S3_REFUSED"
