"""The service's own paths, to which a login may return: nobody may use its address to lead readers elsewhere."""

import re
from typing import Final

from schemas.errors import UserError

_OWN: Final = re.compile(r"/(?![/\\])[!-~]*", re.ASCII)
"""One slash, and then no other: browsers take `//host` and `/\\host` for another host."""


def own_path(text: str) -> str:
    """The path [and query]. Raises `UserError` BAD_RETURN for anything else."""
    if not _OWN.fullmatch(text) or "\\" in text:
        raise UserError("BAD_RETURN", "return_to must be a path of this service, like /jobs", member="return_to")
    return text
