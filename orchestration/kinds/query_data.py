"""What the calls of a query stand for, as files and SQL over them: for readers, and for jobs that run a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.activity_sql import events_table, moment_sql, profiles_table
from connectors.lake.segment_queries import segment_tables
from connectors.lake.sql import Resolved, TableQuery
from connectors.lake.sql_tree import AudienceCall, Call, EventsCall, ProfilesCall, SegmentCall, moment_of
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from schemas.columns import USER_ID
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName, Version
from schemas.sql_text import identifier
from schemas.topics import ACTIVITY_TOPICS
from segmentation.rules.nodes import Group, Member, Rule
from segmentation.versions import Part, VersionInfo, VersionStore

if TYPE_CHECKING:
    from orchestration.kinds.segment_meaning import Meanings

TABLES: Final = "_muster_segment "
"""Begins the names of tables with members of segments, before the tenant: no name in a query begins so."""


def version_files(
    versions: VersionStore, audience: Audience, number: int | None
) -> tuple[VersionInfo, tuple[Part, ...]]:
    """A version (default: the current one) and its files. Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    ref = ref_of(audience)
    info = versions.current(ref) if number is None else versions.version(ref, Version(number))
    if info is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)
    return info, tuple(versions.files(ref, info.version))


def version_data(info: VersionInfo, parts: tuple[Part, ...]) -> Resolved:
    """The members of a version."""
    return Resolved(files=[part.uri for part in parts], schema=info.row_schema)


def events_data(
    meanings: "Meanings", tenant: TenantName, *, event: str | None, since: datetime | None, until: datetime | None
) -> Resolved:
    """Events, each once."""
    activity = meanings.activity(tenant)
    sql = events_table(activity, event=event, since=since, until=until)
    return Resolved(files=[file.uri for file in activity.events], sql=sql)


def profiles_data(meanings: "Meanings", tenant: TenantName) -> Resolved:
    """Users with their attributes."""
    activity = meanings.activity(tenant)
    return Resolved(files=[file.uri for file in activity.profiles], sql=profiles_table(activity))


def members_data(meanings: "Meanings", tenant: TenantName, segment: AudienceName, at: datetime) -> Resolved:
    """Members of a segment, with the instant as a column. Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_AUDIENCE."""
    rule = Rule(groups=(Group(conditions=(Member(kind="segment", name=segment),)),))
    meaning = meanings.resolve(tenant, rule)
    activity, prefix = meanings.activity(tenant), f"{TABLES}{tenant} "
    tables, _ = segment_tables(meaning.question(activity), at, prefix)
    audiences = [uri for _, uris in meaning.versions.values() for uri in uris]
    members = identifier(f"{prefix}{segment}")
    return Resolved(
        files=[*activity.uris, *audiences],
        sql=f"SELECT {USER_ID}, {moment_sql(at)} AS as_of FROM {members}",  # noqa: S608  # quoted
        tables=[
            TableQuery(name=name, sql=sql.text, parameters=[_plain(one) for one in sql.parameters])
            for name, sql in tables.items()
        ],
    )


def _plain(parameter: Any) -> Any:
    """A parameter as JSON data: it is cast to its type."""
    return parameter.isoformat() if isinstance(parameter, date) else parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySources:
    """What a query of a tenant's job may read: its own data, all at one instant. `read`: what it has read so far."""

    meanings: "Meanings"
    tenant: TenantName
    at: datetime
    read: list[Mapping[str, Any]]

    def resolve(self, call: Call) -> Resolved:
        """What a call stands for. Raises `UserError` BAD_SQL for other tenants and rejects, and as the functions."""
        if not isinstance(call, AudienceCall | SegmentCall | EventsCall | ProfilesCall):
            raise UserError("BAD_SQL", "an audience cannot be built from rejects")
        if call.tenant not in {None, self.tenant}:
            raise UserError("BAD_SQL", f"an audience of tenant {self.tenant} is built from its own data alone")
        if isinstance(call, AudienceCall):
            audience = self.meanings.audiences.get(self.tenant, call.audience)
            info, parts = version_files(self.meanings.versions, audience, call.version)
            self.read.append({"audience": audience.name, "version": info.version})
            return version_data(info, parts)
        position = {topic: self.meanings.archive.archived_to(topic) for topic in ACTIVITY_TOPICS}
        archive = {topic: {str(p): end for p, end in sorted(ends.items())} for topic, ends in position.items()}
        about = {"as_of": self.at.isoformat(), "archived_to": archive}
        match call:
            case SegmentCall():
                found = self.meanings.segments.get(self.tenant, call.segment)
                self.read.append({"segment": found.name, "rule_version": found.rule_version, **about})
                return members_data(self.meanings, self.tenant, found.name, self.at)
            case EventsCall():
                since, until = (None if one is None else moment_of(one, self.at) for one in (call.since, call.until))
                times = {name: one.isoformat() for name, one in (("since", since), ("until", until)) if one is not None}
                self.read.append({"events": call.event, **times, **about})
                return events_data(self.meanings, self.tenant, event=call.event, since=since, until=until)
            case ProfilesCall():
                self.read.append({"profiles": True, **about})
                return profiles_data(self.meanings, self.tenant)
