"""Lists of files: a URI a line, a JSON array of URIs, or the manifest that an UNLOAD writes."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from schemas.errors import UserError

SourceForm = Literal["object", "prefix", "list"]
"""What the address of an import is: one object, a prefix below which all files are one import, or a list of files."""
Folders = Literal["files", "sets"]
"""How an audience reads folders of its inbox: each file is an import, or all of a folder once `SUCCESS` has come."""
SUCCESS: Final = "_SUCCESS"
"""Written by Spark, and others, once all files of a folder are there."""
MAX_FILES: Final = 10_000
"""Files of one import."""
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""Enough for `MAX_FILES` of the longest keys."""
MANIFEST: Final = "entries"
"""Member of an UNLOAD's manifest: `{"entries": [{"url": "s3://bucket/key", ...}, ...]}`."""


def parse_list(content: bytes) -> list[str]:
    """The URIs of a list, in order. Raises `UserError` BAD_LIST, TOO_MANY_FILES."""
    if len(content) > MAX_LIST_BYTES:
        raise _bad(f"the list has more than {MAX_LIST_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _bad(f"the list is not UTF-8: byte {exc.start}") from exc
    found = _in_json(text) if text.lstrip()[:1] in {"{", "["} else [line.strip() for line in text.split("\n")]
    uris = [uri for uri in found if uri]
    if len(uris) > MAX_FILES:
        raise too_many_files(f"the list names {len(uris)} files")
    if not uris:
        raise _bad("the list names no file")
    seen: set[str] = set()
    for place, uri in enumerate(uris, 1):
        if not uri.startswith("s3://"):
            raise _bad(f"entry {place} of the list, {uri[:200]!r}, is not of the form s3://bucket/key")
        if uri in seen:
            raise _bad(f"the list names {uri[:200]} twice")
        seen.add(uri)
    return uris


def too_many_files(what: str) -> UserError:
    """The error for a set of more than `MAX_FILES` files; `what` was found."""
    return UserError("TOO_MANY_FILES", f"{what}; one import reads at most {MAX_FILES}", limit=MAX_FILES)


def _in_json(text: str) -> list[str]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _bad("the list begins like JSON, but is none") from exc
    if isinstance(value, Mapping):
        value = value.get(MANIFEST)
        if isinstance(value, list):
            value = [entry.get("url") if isinstance(entry, Mapping) else None for entry in value]
    if not isinstance(value, list) or not all(isinstance(uri, str) for uri in value):
        raise _bad('the list in JSON is neither an array of URIs nor a manifest with "entries" that have a "url" each')
    return value


def _bad(why: str) -> UserError:
    return UserError("BAD_LIST", f"{why}; a list has a URI a line, or is the manifest of an UNLOAD")
