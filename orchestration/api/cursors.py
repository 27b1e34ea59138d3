"""Cursors of lists: the key after which a list continues, bound to the list and its filters."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from orchestration.access.pages import bad_cursor

MAX_LENGTH: Final = 512
_MARK_DIGITS: Final = 16


def encode(path: str, filters: Mapping[str, Any], key: str) -> str:
    """A cursor for the rest of a list after `key`."""
    text = json.dumps([_mark(path, filters), key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(path: str, filters: Mapping[str, Any], cursor: str) -> str:
    """The key in a cursor of this list with these filters. Raises `UserError` BAD_CURSOR for any other text.

    A cursor is no secret and grants nothing: with any key, the list still belongs to its tenant.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        mark, key = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError) as exc:
        raise bad_cursor() from exc
    if mark != _mark(path, filters) or not isinstance(key, str) or not key.isprintable():
        raise bad_cursor()
    return key


def _mark(path: str, filters: Mapping[str, Any]) -> str:
    given = {name: value for name, value in filters.items() if value not in (None, [], ())}
    text = json.dumps([path, given], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK_DIGITS]
