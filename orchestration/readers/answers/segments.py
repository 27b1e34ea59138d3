"""Segments compared with their rules."""

from typing import Any, Final

from orchestration.operations import wiring
from orchestration.readers.questions import CheckSegment
from orchestration.readers.reading import Reading
from schemas.records import as_record


def check_segment(reading: Reading, asked: CheckSegment) -> dict[str, Any]:
    """As `muster segments check --json`. Raises as `SegmentCheck.run`."""
    found = wiring.segment_check(reading.context).run(asked.tenant, asked.segment, asked.timeout_s)
    compared = found.comparison
    return {
        "segment": asked.segment,
        "tenant": asked.tenant,
        "rule_version": found.rule_version,
        "cut_id": found.cut_id,
        "as_of": found.at.isoformat(),
        "equal": compared.equal,
        "by_rule": compared.by_rule,
        "by_stream": compared.by_stream,
        "missing": {"users": compared.missing, "some": list(compared.missing_users)},
        "extra": {"users": compared.extra, "some": list(compared.extra_users)},
        "outside": [as_record(one) for one in found.outside],
    }


ANSWERS: Final = {CheckSegment: check_segment}
