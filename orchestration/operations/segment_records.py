"""Segments as plain JSON data."""

from typing import Any

from orchestration.catalog.segment_records import PartitionStatus, RuleVersion, SegmentOverview
from orchestration.platform.clock import iso


def segment_record(overview: SegmentOverview, partitions: int, now: int) -> dict[str, Any]:
    """A segment as plain JSON data.

    `members` is the sum over the partitions that have reported (None if none has), `as_of` the instant up to which all
    of these reports hold. `complete`: all partitions have reported, for this version of the rule.
    """
    segment, rule, reports = overview.segment, overview.rule, list(overview.partitions.values())
    current = [report for report in reports if report.rule_version == segment.rule_version]
    oldest = min((report.at_us for report in reports), default=None)
    return {
        "tenant": segment.tenant,
        "segment": segment.name,
        "segment_id": segment.segment_id,
        "state": segment.state,
        "rule": rule.text,
        "timezone": rule.timezone,
        "rule_version": segment.rule_version,
        "rule_hash": rule.hash,
        "members": sum(report.members for report in reports) if reports else None,
        "as_of": None if oldest is None else iso(oldest // 1000),
        "lag_s": None if oldest is None else max(0, now - oldest // 1000) / 1000,
        "partitions": partitions,
        "reported": len(current),
        "complete": len(current) == partitions,
        "created_at": iso(segment.created_at_ms),
        "updated_at": iso(segment.updated_at_ms),
    }


def partition_record(one: PartitionStatus) -> dict[str, Any]:
    """The latest report of a partition as plain JSON data."""
    return {
        "partition": one.partition,
        "rule_version": one.rule_version,
        "paused": one.paused,
        "members": one.members,
        "as_of": iso(one.at_us // 1000),
        "events": one.events,
        "profiles": one.profiles,
        "activations": one.activations,
    }


def rule_version_record(version: RuleVersion) -> dict[str, Any]:
    """A version of a rule as plain JSON data."""
    return {
        "rule_version": version.version,
        "rule": version.text,
        "timezone": version.timezone,
        "rule_hash": version.hash,
        "author": version.author,
        "created_at": iso(version.created_at_ms),
    }
