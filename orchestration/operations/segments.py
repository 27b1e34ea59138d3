"""Operations on segments."""

from orchestration.catalog.segment_records import SegmentOverview
from orchestration.catalog.segments import NewRule, SegmentStore
from schemas.errors import UserError
from schemas.ids import segment_name, tenant_name
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.record_reader import rule_from_json


def rule_of(given: str, timezone: str | None) -> NewRule:
    """A rule given as text or JSON.

    Raises `UserError` BAD_RULE, with the character or the place in its detail, BAD_TIMEZONE.
    """
    text = given.strip()
    if not text.startswith("{"):
        return NewRule(text=text, timezone=timezone, rule=parse_rule(text, timezone=timezone))
    if timezone is not None:
        raise UserError("BAD_TIMEZONE", "a rule in JSON contains its own time zone", timezone=timezone)
    rule = rule_from_json(text.encode())
    return NewRule(text=rule_text(rule), timezone=rule.timezone, rule=rule, json=True)


def find(segments: SegmentStore, tenant: str, name: str) -> SegmentOverview:
    """A segment with everything known about it. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
    tenant_, name_ = tenant_name(tenant), segment_name(name)
    found = segments.get(tenant_, name_)
    rule = segments.versions(found.segment_id)[found.rule_version - 1]
    return SegmentOverview(segment=found, rule=rule, partitions=segments.partitions(found.segment_id))
