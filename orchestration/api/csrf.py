"""Whether a request with a cookie comes from the service's own pages: browsers send cookies for other pages too."""

from collections.abc import Sequence
from typing import Final

from schemas.errors import UserError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, and no other origin can read their answers."""
OWN: Final = frozenset({"same-origin", "none"})
"""`none`: the address bar, a bookmark."""


def check_same_origin(method: str, *, site: Sequence[str], origin: Sequence[str], own: str) -> None:
    """`site`, `origin`: the headers Sec-Fetch-Site and Origin; `own`: the own origin. Raises `UserError` CROSS_ORIGIN.

    Browsers set both headers, and pages cannot. Sec-Fetch-Site decides; browsers before 2023 send only Origin.
    """
    if method in SAFE_METHODS:
        return
    if (site and list(site) not in [[one] for one in OWN]) or (not site and [o.lower() for o in origin] != [own]):
        raise UserError("CROSS_ORIGIN", "this request does not come from a page of the service; programs use a token")


def check_navigation(site: Sequence[str]) -> None:
    """A login by a link on a foreign page would put its reader into a session of that page's author."""
    if site and list(site) not in [[one] for one in OWN]:
        raise UserError("CROSS_ORIGIN", "a page of another site led here; open the address yourself")
