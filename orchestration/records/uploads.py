"""Files that clients send, and the presigned requests that send them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedPut:
    """A request that stores the file, once. Send `headers` as they are; it needs no token."""

    method: Literal["PUT"] = "PUT"
    url: str
    headers: Mapping[str, str]
    expires_at: Time
    example: ClassVar[Example] = {
        "method": "PUT",
        "url": "https://s3.example/staging/uploads/acme/upload/x/people.csv?X-Amz-Signature=...",
        "headers": {"Content-Length": "1024", "Content-Type": "text/csv", "If-None-Match": "*"},
        "expires_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedPart(PresignedPut):
    """A request that stores one part."""

    part: int
    example: ClassVar[Example] = {**PresignedPut.example, "part": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSizes:
    """Parts of a file above 5 GiB: all have `bytes` but the last, which has the rest."""

    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that a client sends. `put`: of a new upload up to 5 GiB; larger ones are sent in `parts`.

    `source`: its address, for a check before its import.
    """

    upload: Id
    source: str
    name: str
    content_type: str
    size: int
    state: Literal["unfinished", "stored"]
    parts: PartSizes | None
    put: PresignedPut | None
    created_at: Time
    example: ClassVar[Example] = {
        "upload": EXAMPLE_ID,
        "source": "s3://staging/uploads/acme/upload/x/people.csv",
        "name": "people.csv",
        "content_type": "text/csv",
        "size": 1024,
        "state": "unfinished",
        "parts": None,
        "put": PresignedPut.example,
        "created_at": EXAMPLE_TIME,
    }
