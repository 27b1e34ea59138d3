"""Files that the client sends by presigned requests: what does not arrive is sent again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from muster import Access, ApiError, Client
from muster.sending import send_piece
from muster.uploads import SENDS
from tests.servers.presigned import Store, object_store

PART = 4
CONTENT = b"0123456789"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("muster.presigned.TIMEOUT_S", 0.5)
    with object_store() as made:
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept = list[float]()
    monkeypatch.setattr("muster.uploads.time.sleep", slept.append)
    return slept


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(CONTENT)
    return path


class Uploading(Client):
    """A client whose service signs requests for the store. `signed`: as often as it was asked, per path.

    `away`: how often it does not answer at the end.
    """

    def __init__(self, store: Store, *, parts: bool = False) -> None:
        super().__init__(Access(url="http://127.0.0.1:1", token="mst_x"))
        self._store = store
        self._in_parts = parts
        self.signed = list[str]()
        self.away = 0

    def _request(self, name: str, size: int) -> dict[str, Any]:
        self.signed.append(name)
        headers = {"Content-Length": str(size)}
        return {"method": "PUT", "url": f"{self._store.url}/{name}?signed={len(self.signed)}", "headers": headers}

    def create_upload(self, tenant: str, name: str, size: int, **_: Any) -> Any:
        assert (tenant, name) == ("acme", "people.csv")
        parts = {"count": -(-size // PART), "bytes": PART} if self._in_parts else None
        return {"upload": "u", "parts": parts, "put": None if self._in_parts else self._request("file", size)}

    def upload(self, tenant: str, upload: str) -> Any:
        assert (tenant, upload) == ("acme", "u")
        return {"state": "stored" if "/file" in self._store.contents else "unfinished"}

    def upload_parts(self, tenant: str, upload: str, parts: Sequence[int]) -> Any:
        assert (tenant, upload) == ("acme", "u")
        return [self._request(f"part{n}", min(PART, len(CONTENT) - (n - 1) * PART)) for n in parts]

    def complete_upload(self, tenant: str, upload: str) -> Any:
        assert (tenant, upload) == ("acme", "u")
        if self.away:
            self.away -= 1
            raise ApiError("API_UNREACHABLE", "the service does not answer", kind="retriable")
        return dict(self._store.contents)


@pytest.mark.parametrize("fault", ["silent", 503, 403], ids=["time-out", "busy", "expired"])
def test_upload_refused_by_the_store_is_retried_with_a_fresh_request(
    store: Store, file: Path, pauses: list[float], fault: int | str
) -> None:
    store.faults["/file"], sent = [fault] * 2, list[int]()
    client = Uploading(store)
    arrived: Any = client.send_file("acme", file, on_bytes=sent.append)
    assert arrived == {"/file": CONTENT}
    assert (client.signed, sum(sent), pauses) == (["file"] * 3, len(CONTENT), [0.5, 1.0])


def test_arrived_file_is_not_resent_after_a_lost_answer(store: Store, file: Path, pauses: list[float]) -> None:
    store.faults["/file"] = ["lost"]
    arrived: Any = Uploading(store).send_file("acme", file)
    assert arrived == {"/file": CONTENT}
    assert (len(store.hosts), len(pauses)) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [(503, "UPLOAD_REFUSED", SENDS), ("silent", "UPLOAD_UNREACHABLE", SENDS), (400, "UPLOAD_REFUSED", 1)],
)
def test_permanently_refused_upload_is_an_error(
    store: Store, file: Path, pauses: list[float], fault: int | str, code: str, tries: int
) -> None:
    store.faults["/file"] = [fault] * SENDS
    with pytest.raises(ApiError, match=code):
        Uploading(store).send_file("acme", file)
    assert len(store.hosts) == tries


def test_large_file_is_sent_in_parts_and_only_failed_parts_are_resent(
    store: Store, file: Path, pauses: list[float]
) -> None:
    store.faults["/part2"], sent = [403, "silent", 503], list[int]()
    client = Uploading(store, parts=True)
    arrived: Any = client.send_file("acme", file, on_bytes=sent.append)
    assert arrived == {"/part1": b"0123", "/part2": b"4567", "/part3": b"89"}
    assert client.signed == ["part1", *["part2"] * 4, "part3"]
    assert sum(sent) == len(CONTENT)


@pytest.mark.parametrize("parts", [False, True])
def test_service_outage_after_the_last_part_is_waited_out(
    store: Store, file: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch, *, parts: bool
) -> None:
    monkeypatch.setattr("muster.repeating.PAUSE_S", 0.0)
    client = Uploading(store, parts=parts)
    client.away = 2
    arrived: Any = client.send_file("acme", file)
    assert b"".join(arrived.values()) == CONTENT
    assert len(store.hosts) == (3 if parts else 1)  # nothing was sent again


def test_shrinking_file_is_refused(store: Store, file: Path) -> None:
    request = {"method": "PUT", "url": f"{store.url}/file?signed", "headers": {"Content-Length": "11"}}
    with pytest.raises(ApiError, match="shorter"):
        send_piece(request, file, 0, len(CONTENT) + 1)
    assert store.contents == {}
