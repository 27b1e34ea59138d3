"""How tenants share places: none holds all of them while another waits, and what is idle can be used.

Pure rules, for the readers, the questions in the background and the threads that wait for both.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.ids import JobId
from segmentation.admission import LaneLimit, Ticket, admitted

IN_RESERVE: Final = 1
"""Workers beyond the usual number, which no tenant gets that has the usual number already."""


def may_take(tenant: str, held: Counter[str], places: int) -> bool:
    """Whether a tenant may take one more place: it holds fewer than are free, so it leaves as many as it takes.

    Alone, a tenant gets half of the places; one that holds none gets the last.
    """
    return held[tenant] < places - held.total()


def next_to_work(waiting: Iterable[Ticket], working: Iterable[Ticket], usual: int) -> Sequence[JobId]:
    """Who begins now, in order: first the tenant with the least at work, then the oldest.

    `usual`: how many one tenant may have at work; there are `IN_RESERVE` more workers.
    """
    return admitted(waiting, working, {False: LaneLimit(jobs=usual + IN_RESERVE, per_tenant=usual)})
