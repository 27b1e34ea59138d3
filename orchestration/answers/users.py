"""What is known of a user."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from connectors.lake.activity_relations import Activity
from connectors.lake.faults import lake_faults
from connectors.lake.user_activity import user_activity
from orchestration.answers.reading import Reading
from orchestration.catalog.references import ref_of
from orchestration.readers.questions import LookUpUser
from schemas.errors import UserError
from schemas.ids import Partition, TenantName
from schemas.partitioning import partition_of
from segmentation.rules.nodes import Group, Member, Rule


def look_up_user(reading: Reading, asked: LookUpUser) -> dict[str, Any]:
    """As the record `User`. Raises `UserError` UNKNOWN_USER for one without events, profiles and audiences."""
    context, at = reading.context, datetime.now(UTC)
    partition = Partition(partition_of(asked.user, context.settings.partitions))
    activity = reading.meanings.activity(asked.tenant, partition)
    with reading.session() as session, lake_faults("looking a user up"):
        found = user_activity(session, activity, asked.user)
    files = _audiences(reading, asked.tenant, partition)
    audiences = reading.meanings.queries.audiences_containing(files, asked.user)
    if not (found.events or found.profile_changes or audiences):
        raise unknown_user()
    return {
        "user": asked.user,
        "partition": partition,
        "attributes": plain(found.attributes),
        "events": [plain(asdict(one)) for one in found.events],
        "latest": [plain(asdict(one)) for one in found.latest],
        "audiences": audiences,
        "segments": _segments(reading, asked, activity, at),
        "as_of": at.isoformat(),
    }


def unknown_user() -> UserError:
    """There is no such user. The id is not repeated: errors end up in logs."""
    return UserError("UNKNOWN_USER", "the archive has no event and no profile change of this user")


def _segments(reading: Reading, asked: LookUpUser, activity: Activity, at: datetime) -> list[str]:
    """Segments whose rules are true of a user at an instant, also paused ones."""
    names = reading.context.segments.rules(asked.tenant)
    if not names:
        return []
    everything = Rule(groups=(Group(conditions=tuple(Member(kind="segment", name=name) for name in names)),))
    question = reading.meanings.resolve(asked.tenant, everything).question(activity)
    return reading.meanings.queries.segments_containing(question, at, asked.user)


def _audiences(reading: Reading, tenant: TenantName, partition: Partition) -> dict[str, list[str]]:
    """By name, the files of current versions that may have a user of the partition."""
    versions, found = reading.context.versions, dict[str, list[str]]()
    for audience in reading.context.audiences.all(tenant):
        info = versions.current(ref := ref_of(audience))
        if info is not None:
            same = info.partitions == reading.context.settings.partitions
            parts = versions.files(ref, info.version)
            found[audience.name] = [p.uri for p in parts if not same or p.partition in {None, partition}]
    return found


def plain(value: object) -> object:
    """A value, and what it holds, as JSON: times as ISO 8601, in UTC."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return value.isoformat() if hasattr(value, "isoformat") else value


ANSWERS: Final = {LookUpUser: look_up_user}
