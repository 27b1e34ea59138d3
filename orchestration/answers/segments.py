"""Segments compared with their rules, and with what the topics have."""

from typing import Any, Final

from orchestration.answers.reading import Reading
from orchestration.operations import segment_lag, segment_queries, wiring
from orchestration.operations.segments import find
from orchestration.readers.questions import CheckSegment, MeasureSegment
from schemas.errors import MusterError
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
        **as_record(found.unknown),
    }


def measure_segment(reading: Reading, asked: MeasureSegment) -> dict[str, Any]:
    """`behind`: records that its workers have not processed. `outside`: None if `trouble` says why it is unknown."""
    context = reading.context
    found, outside, trouble = find(context.segments, asked.tenant, asked.segment), None, None
    behind = segment_lag.behind(found.partitions.values(), archive=context.archive, settings=context.settings)
    try:
        counted = segment_queries.outside(
            asked.tenant, found.rule.parsed, meanings=lambda: reading.meanings, settings=context.settings
        )
        outside = [as_record(one) for one in counted]
    except MusterError as exc:
        trouble = str(exc)
    return {"behind": behind, "outside": outside, "trouble": trouble}


ANSWERS: Final = {CheckSegment: check_segment, MeasureSegment: measure_segment}
