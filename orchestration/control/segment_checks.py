"""Compares segments with their rules, one after another: the stream must agree with the archive.

1. The active segment that was checked longest ago is next, one partition at a time. Users are spread over partitions by
   a hash, so one partition is a sample at a fraction of the cost.
2. It is checked as `muster segments check` checks all partitions.
3. Its next check takes the next partition, or the same one while users differ.

Several instances check more often.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestration.catalog.segment_records import Segment
from orchestration.catalog.segments import SegmentStore
from orchestration.operations.segment_check import Checked
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.errors import MusterError
from schemas.ids import JobId, Partition
from schemas.log_ids import bound
from schemas.metrics import SEGMENT_CHECKS, SEGMENT_MISMATCHES, Sample

TIMEOUT_S: Final = 120.0
_log = logging.getLogger(__name__)
Check = Callable[[Segment, Partition], Checked]


@dataclass(slots=True)
class _CheckState:
    """State of a segment. `turn`: number of its last check; 0 if never checked."""

    turn: int = 0
    partition: int = 0  # to check next
    mismatches: int = 0


class SegmentChecks:
    """Checks segments. Steps are numbered as in the module docstring."""

    def __init__(self, segments: SegmentStore, settings: Settings, counters: Counters, check: Check) -> None:
        self._segments = segments
        self._settings = settings
        self._counters = counters
        self._check = check
        self._turns = 0
        self._states: dict[JobId, _CheckState] = {}

    def samples(self) -> list[Sample]:
        """The gauge, from any thread. None if checks are off."""
        if self._settings.segment_check_minutes <= 0:
            return []
        found = sum(one.mismatches for one in list(self._states.values()))
        return [Sample(metric=SEGMENT_MISMATCHES, value=found)]

    def tick(self) -> None:
        """Check the next segment. Raises as the catalog does."""
        active = [one.segment for one in self._segments.overviews() if one.segment.state == "active"]
        self._states = {one.segment_id: self._states.get(one.segment_id, _CheckState()) for one in active}
        if not active:
            return
        segment = min(active, key=lambda one: self._states[one.segment_id].turn)  # 1
        state = self._states[segment.segment_id]
        state.turn = self._turns = self._turns + 1
        with bound(tenant=segment.tenant):
            result = self._result(segment, state)
        self._counters.add(SEGMENT_CHECKS, result=result)
        if result != "different":
            state.partition = (state.partition + 1) % self._settings.partitions  # 3

    def _result(self, segment: Segment, state: _CheckState) -> str:
        """Step 2. Users are counted, not named, since many people read a log."""
        try:
            checked = self._check(segment, Partition(state.partition))
        except MusterError as exc:
            _log.warning("cannot check partition %d of segment %s: %s", state.partition, segment.name, exc)
            return "not_possible"
        found = checked.comparison
        state.mismatches = found.missing + found.extra
        if found.equal:
            return "equal"
        _log.error(
            "segment %s, rule version %d, partition %d as of %s: the stream lacks %d users and has %d too many; "
            "`muster segments check %s -t %s` lists examples",
            *(segment.name, checked.rule_version, state.partition, checked.at.isoformat()),
            *(found.missing, found.extra, segment.name, segment.tenant),
        )
        return "different"
