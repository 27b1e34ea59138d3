"""What rules can name."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from connectors.lake.activity_names import seen_attributes, seen_events
from connectors.lake.faults import lake_faults
from orchestration.answers.reading import Reading
from orchestration.readers.questions import ListNames


def list_names(reading: Reading, asked: ListNames) -> dict[str, Any]:
    """Events, attributes, audiences and segments of a tenant, as the record `Names`."""
    context = reading.context
    activity = reading.meanings.activity(asked.tenant)
    with reading.session() as session, lake_faults("listing the names in the archive"):
        events, all_events = seen_events(session, activity)
        attributes, all_attributes = seen_attributes(session, activity)
    return {
        "events": [{"event": event, "properties": _named(properties)} for event, properties in sorted(events.items())],
        "attributes": _named(attributes),
        "audiences": sorted(audience.name for audience in context.audiences.all(asked.tenant)),
        "segments": sorted(context.segments.rules(asked.tenant)),
        "complete": all_events and all_attributes,
    }


def _named(found: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [{"name": name, "types": list(types)} for name, types in sorted(found.items())]


ANSWERS: Final = {ListNames: list_names}
