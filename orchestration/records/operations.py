"""Operations, which go on after their request was answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time
from orchestration.records.jobs import JobFault

LakeChange = Literal["rollback", "compact", "expire", "rename", "delete"]
OperationKind = Literal[LakeChange, "difference", "segment_check", "inspection", "dry_run", "file", "recipient_test"]
OperationState = Literal["pending", "running", "done", "failed"]
"""`pending`: for the control plane to carry out. `running`: a service answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation. `result` and `error` are null until it has ended; a result depends on `kind` (docs/cli.md)."""

    operation: Id
    kind: OperationKind
    audience: str | None
    state: OperationState
    result: Mapping[str, Any] | None
    error: JobFault | None
    created_at: Time
    finished_at: Time | None
    location: ClassVar[str] = "operations/{0.operation}"
    example: ClassVar[Example] = {
        "operation": EXAMPLE_ID,
        "kind": "difference",
        "audience": None,
        "state": "done",
        "result": {
            "audience": "vip",
            "tenant": "acme",
            "earlier": 3,
            "later": 5,
            "added": 2,
            "removed": 1,
            "changed": 0,
            "kept": 40,
            "sample": {"added": ["ann", "bob"], "removed": ["cid"]},
        },
        "error": None,
        "created_at": EXAMPLE_TIME,
        "finished_at": EXAMPLE_TIME,
    }

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state in {"pending", "running"}
