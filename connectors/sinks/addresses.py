"""Validate destination addresses: refuse those that would resolve to another place or name than they show.

An object's key is not a path, but receivers turn keys into files, and some S3 servers parse keys as paths: `..` and
empty segments would leave the prefix there. So addresses must not contain them, nor any invisible character.
"""

import re
import unicodedata
from pathlib import Path
from typing import Final

from schemas.errors import UserError
from schemas.layout import split_s3_uri

S3: Final = "s3://"
KEY_BYTES: Final = 1024
"""Longest key in S3, in bytes of UTF-8."""
NAME_BYTES: Final = 256
"""Bytes reserved for file names: audience 63, version 20, id 10, numbers 12, change, format and compression."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}", re.ASCII)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/", re.ASCII)
_INVISIBLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, surrogates, line and paragraph separators."""


def s3_prefix(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/some/prefix`; the prefix is empty or ends with `/`.

    Raises `UserError` BAD_URI.
    """
    bucket, key = _parts(uri)
    prefix = key.removesuffix("/")
    if prefix:
        _check_key(uri, prefix, KEY_BYTES - NAME_BYTES)
        prefix += "/"
    return bucket, prefix


def s3_object(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/some/file`. Raises `UserError` BAD_URI."""
    bucket, key = _parts(uri)
    if not key:
        raise UserError("BAD_URI", f"{uri[:200]!r} does not name an object", uri=uri[:200])
    _check_key(uri, key, KEY_BYTES)
    return bucket, key


def local_path(path: str) -> Path:
    """A folder or file on this machine. Raises `UserError` BAD_URI, also for a URI with too few slashes."""
    if not path.strip():
        raise UserError("BAD_URI", "the destination is empty: name a folder, or s3://bucket/prefix", uri=path)
    if (scheme := _SCHEME.match(path)) is not None:
        meant = f"{path[: scheme.end()]}/{path[scheme.end() :]}"
        raise UserError("BAD_URI", f"{path[:200]!r} is not a folder; did you mean {meant[:200]!r}?", uri=path[:200])
    _check_visible(path)
    return Path(path)


def _parts(uri: str) -> tuple[str, str]:
    bucket, key = split_s3_uri(uri)
    if not _BUCKET.fullmatch(bucket):
        raise UserError("BAD_URI", f"{bucket[:80]!r} is not a bucket name", uri=uri[:200])
    return bucket, key


def _check_key(uri: str, key: str, most: int) -> None:
    _check_visible(uri)
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            raise UserError(
                "BAD_URI", f"{uri[:200]!r} has the segment {segment!r}, which is not allowed in a key", uri=uri[:200]
            )
    if len(key.encode()) > most:
        raise UserError("BAD_URI", f"{uri[:80]!r}... has more than {most} bytes after its bucket", uri=uri[:200])


def _check_visible(text: str) -> None:
    hidden = next((char for char in text if unicodedata.category(char) in _INVISIBLE), None)
    if hidden is not None:
        raise UserError("BAD_URI", f"{text[:200]!r} contains the control character {hidden!r}", uri=repr(text[:200]))
