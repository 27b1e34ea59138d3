"""A pinned object is read as it was when pinned, or not at all, whatever replaces it in the meantime."""

from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest

from connectors.storage.pinned import PinnedBody, SourceObject
from schemas.errors import UserError

FIRST, SECOND = b"ann\nbob\ncy\n", b"dan\neve\nfay\n"
READ = 4  # bytes, before the object is overwritten


class Server:
    """S3's side: versions of one object, the newest last, and an If-Match condition, unless it is ignored."""

    def __init__(self, *, conditions: bool = True) -> None:
        self.versions = {"v1": FIRST}
        self.conditions = conditions

    def overwrite(self) -> None:
        self.versions["v2"] = SECOND

    def get_object(self, **request: Any) -> dict[str, Any]:
        version = request.get("VersionId", list(self.versions)[-1])
        if self.conditions and request.get("IfMatch", version) != version:
            raise UserError("SOURCE_CHANGED", "the condition does not hold")
        start, end = (int(number) for number in request["Range"].removeprefix("bytes=").split("-"))
        body = self.versions[version]
        return {
            "ETag": version,
            "ContentRange": f"bytes {start}-{end}/{len(body)}",
            "Body": BytesIO(body[start : end + 1]),
        }


def pinned(server: Server, *, version_id: str | None) -> PinnedBody:
    source = SourceObject(
        bucket="inbox",
        key="acme/vip/users.csv",
        version_id=version_id,
        etag="v1",
        size=len(FIRST),
        last_modified=datetime(2026, 1, 1, tzinfo=UTC),
    )
    client: Any = server
    return PinnedBody(client, source)


def test_pinned_version_is_read_despite_a_newer_one() -> None:
    server, content = Server(), bytearray()
    body = pinned(server, version_id="v1")
    body.read_into(content, 0, READ)
    body.close()  # a connection that breaks
    server.overwrite()
    body.read_into(content, 0, len(FIRST))
    assert content == FIRST


@pytest.mark.parametrize("conditions", [True, False], ids=["conditions are held", "conditions are ignored"])
def test_overwritten_object_is_not_read_further(*, conditions: bool) -> None:
    server, content = Server(conditions=conditions), bytearray()
    body = pinned(server, version_id=None)
    body.read_into(content, 0, READ)
    body.close()
    server.overwrite()
    with pytest.raises(UserError, match="SOURCE_CHANGED"):
        body.read_into(content, 0, len(FIRST))
    assert content == FIRST[:READ]
