"""The faults of schedules with segments, and what they lead to."""

from typing import Final

from tests.simulation.faults import KINDS

_OF_IMPORTS: Final = (
    "object store fails",
    "object store reply lost",
    "object store slow",
    "catalog fails",
    "catalog reply lost",
    "catalog slow",
    "log fails",
    "log reply lost",
    "log slow",
    "zombie producer's batch lands late",
    "worker killed",
    "worker frozen",
    "relay killed",
    "relay frozen",
    "clock skew",
)
SEGMENT_KINDS: Final[dict[str, float]] = {
    **{kind: KINDS[kind] for kind in _OF_IMPORTS},
    "rebalance": 0.02,
    # what producers and the control plane send
    "misplaced event": 0.1,
    "refused record": 0.05,
    "event sent again": 0.15,
    "offset without a record": 0.1,
    "activation sent twice": 0.1,
    "activation refused": 0.1,
    # what people do with the deployment
    "topics recreated": 0.2,
}
"""Kinds, with the chance of each in a schedule that has it at its usual rate."""

SEGMENT_SEEN: Final = (
    "changes received",
    "left or entered by time alone",
    "sequence changed by an event",
    "sequence changed by time alone",
    "aggregate changed by an event",
    "aggregate changed by time alone",
    "changed by a rule",
    "changed by an audience",
    "difference after a takeover",
    "change of a replaced owner",
    "owner found itself replaced",
    "owner finds a checkpoint",
    "segment paused",
    "snapshot",
    "archive range refused",
    "archive range known",
)
"""Consequences: not injected, but counted when seen, and required by the test as well."""
