"""Dry run of events or profiles: verifies the file as a real import does, and reports what would be sent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.sources.file_set import complete_spec, open_digests
from connectors.sources.parsing import ParseProgress
from connectors.sources.rejects import Reject
from connectors.storage.pinned import Source
from connectors.verification.verifier import verify_digested
from orchestration.operations.dry_run import POLICY, FirstRejects
from schemas.columns import Column, ImportKind
from schemas.errors import UserError
from schemas.ids import TenantName
from schemas.records import as_record

if TYPE_CHECKING:
    from connectors.sources.limits import ParseLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.kinds.specs import Specs
    from orchestration.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityDryRun:
    """What an import would send. `problems`: why it would be refused; if empty, all accepted rows would be sent.

    `partitions`: accepted rows per partition. Only the archive can tell how many of them are duplicates.
    """

    kind: ImportKind
    rows: int
    accepted: int
    rejected: int
    rejected_by_code: dict[str, int]
    columns: tuple[Column, ...]
    partitions: tuple[int, ...]
    problems: tuple[UserError, ...]
    examples: tuple[Reject, ...]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "kind": self.kind,
            "would_send": 0 if self.problems else self.accepted,
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_by_code": self.rejected_by_code,
            "columns": [{"name": c.name, "type": c.type, "source": c.file_name} for c in self.columns],
            "partitions": list(self.partitions),
            "problems": [problem.as_record() for problem in self.problems],
            "rejects": [as_record(r) for r in self.examples],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityDryRuns:
    """Dry runs of imports of events and profiles."""

    objects: "ObjectStore"
    parse_limits: "ParseLimits"
    settings: "Settings"
    specs: "Specs"

    def run(
        self,
        source: Source | Path,
        *,
        tenant: TenantName,
        kind: ImportKind,
        overrides: dict[str, Any],
        on_progress: Callable[[ParseProgress], None],
    ) -> ActivityDryRun:
        """Verify and count. Raises what verification raises for a file that cannot be read to its end."""
        spec = self.specs.for_activity(tenant, kind, overrides)
        limits, store = self.parse_limits, self.objects
        if spec.other_columns:
            spec = complete_spec(source, spec, limits, store)
        problems: list[UserError] = []
        rejects = FirstRejects()
        with open_digests(source, spec, limits, store, on_progress, partitions=self.settings.partitions) as digested:
            try:
                verify_digested(digested, spec, rejects=rejects)
            except UserError as exc:
                if exc.code not in POLICY or not digested.ended:
                    raise
                problems.append(exc)
            summary, digests = digested.summary, digested.digests
        return ActivityDryRun(
            kind=kind,
            rows=summary.rows,
            accepted=summary.accepted,
            rejected=summary.rejected,
            rejected_by_code=dict(summary.rejected_by_code),
            columns=spec.columns,
            partitions=tuple(digest.count for digest in digests),
            problems=tuple(problems),
            examples=tuple(rejects.first),
        )
