"""Entity tags (RFC 9110, 8.8.3) of things that are replaced as a whole: what a change must have seen."""

import re
from typing import Annotated, Final

from fastapi import Header

from schemas.errors import UserError

IfMatch = Annotated[str | None, Header(description="The ETag of what was read.")]
_STRONG: Final = re.compile(r'"([!#-~]+)"', re.ASCII)


def etag(revision: str) -> str:
    """The value of the header `ETag`."""
    return f'"{revision}"'


def seen_revision(if_match: str | None) -> str:
    """The revision in the header `If-Match`. Raises `UserError` NO_ETAG without one, BAD_ETAG for any other value.

    `*` is refused: it would overwrite changes that the caller has not seen.
    """
    if if_match is None:
        raise UserError("NO_ETAG", "send the ETag of what you have read in the header If-Match", member="If-Match")
    if (found := _STRONG.fullmatch(if_match.strip())) is None:
        raise UserError(
            "BAD_ETAG",
            'If-Match must be one ETag as it was received, like "a1b2"; * is not accepted',
            member="If-Match",
        )
    return found[1]
