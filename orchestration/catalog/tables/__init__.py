"""Tables of the catalog, by subject. Times are milliseconds since 1970 UTC; JSON columns hold results of `as_record`.

The package has all of them, so that `metadata` is complete whoever imports it.
"""

from orchestration.catalog.tables.access import (
    api_tokens,
    audit,
    external_identities,
    grants,
    group_grants,
    one_time_codes,
    principals,
    sessions,
    token_caps,
)
from orchestration.catalog.tables.audiences import activated_audiences, activity_specs, audiences, pins, tenants
from orchestration.catalog.tables.base import metadata
from orchestration.catalog.tables.consent import consent_policies
from orchestration.catalog.tables.exports import export_groups, export_transitions, exports
from orchestration.catalog.tables.feeds import feeds
from orchestration.catalog.tables.jobs import (
    attempts,
    claims,
    duplicates,
    job_uploads,
    jobs,
    partition_progress,
    receipts,
    stage_progress,
    transitions,
)
from orchestration.catalog.tables.notifications import notifications, recipients
from orchestration.catalog.tables.requests import async_operations, idempotency, tenant_places, uploads
from orchestration.catalog.tables.schedules import schedules
from orchestration.catalog.tables.segments import (
    activations,
    segment_partitions,
    segment_rules,
    segment_sizes,
    segments,
)
from orchestration.catalog.tables.workers import dead_letter_marks, samples, wanted_counts, worker_groups

__all__ = [
    "activated_audiences",
    "activations",
    "activity_specs",
    "api_tokens",
    "async_operations",
    "attempts",
    "audiences",
    "audit",
    "claims",
    "consent_policies",
    "dead_letter_marks",
    "duplicates",
    "export_groups",
    "export_transitions",
    "exports",
    "external_identities",
    "feeds",
    "grants",
    "group_grants",
    "idempotency",
    "job_uploads",
    "jobs",
    "metadata",
    "notifications",
    "one_time_codes",
    "partition_progress",
    "pins",
    "principals",
    "receipts",
    "recipients",
    "samples",
    "schedules",
    "segment_partitions",
    "segment_rules",
    "segment_sizes",
    "segments",
    "sessions",
    "stage_progress",
    "tenant_places",
    "tenants",
    "token_caps",
    "transitions",
    "uploads",
    "wanted_counts",
    "worker_groups",
]
