"""The state of a partition as bytes, for the next owner: NumPy's .npz, which holds no code.

https://numpy.org/doc/stable/reference/generated/numpy.savez.html: a zip of arrays, one of which holds JSON.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from schemas.ids import AudienceName, Partition, TenantName, Version
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule, plan_of
from segmentation.evaluation.state import State
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.tenant import TenantSegments
from segmentation.rules.record_reader import rule_from_record
from segmentation.rules.records import rule_record

FORMAT: Final = 1
_ABOUT: Final = "about"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The segments of a partition, whose changes `generation` has emitted below the offset `changes`.

    The writer has checked that this owner was not replaced until then. `next_seq`: seq of its next message.
    `started_at_us`: time in the owner's `OwnerStarted`, at offset `generation`; it identifies the log. None in
    checkpoints from before it was stored. `log_epoch`: that of the archive (`segmentation.archived`).
    """

    segments: PartitionSegments
    generation: int
    changes: int
    next_seq: int
    started_at_us: int | None = None
    log_epoch: int = 0


def encode(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint."""
    segments = checkpoint.segments
    arrays: dict[str, Any] = {}
    tenants = []
    for number, tenant in enumerate(segments.tenants.values()):
        tenants.append(
            {
                "tenant": tenant.tenant,
                "at_us": tenant.evaluator.at_us,
                "rules": [
                    {"segment": name, "version": one.version, "paused": one.paused, "rule": rule_record(one.rule)}
                    for name, one in tenant.rules.items()
                ],
                "audiences": tenant.audiences,
            }
        )
        arrays |= {f"{number}.{name}": column for name, column in tenant.evaluator.state.columns().items()}
    about = {
        "format": FORMAT,
        "partition": segments.partition,
        "place": asdict(segments.position),
        "generation": checkpoint.generation,
        "changes": checkpoint.changes,
        "next_seq": checkpoint.next_seq,
        "started_at_us": checkpoint.started_at_us,
        "era": checkpoint.log_epoch,
        "tenants": tenants,
    }
    arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def decode(data: bytes) -> Checkpoint:
    """Inverse of `encode`. Raises ValueError for invalid data, or another format."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        about = json.loads(bytes(arrays[_ABOUT]))
        if about["format"] != FORMAT:
            raise ValueError(f"a checkpoint of format {about['format']}, not {FORMAT}")
        tenants = {
            TenantName(record["tenant"]): _tenant(record, f"{number}.", arrays)
            for number, record in enumerate(about["tenants"])
        }
    segments = PartitionSegments(Partition(about["partition"]), LogPosition(**about["place"]), tenants)
    return Checkpoint(
        segments=segments,
        generation=about["generation"],
        changes=about["changes"],
        next_seq=about["next_seq"],
        started_at_us=about.get("started_at_us"),
        log_epoch=about.get("era", 0),
    )


def _tenant(record: Mapping[str, Any], prefix: str, arrays: Mapping[str, Any]) -> TenantSegments:
    rules = {
        one["segment"]: ActiveRule(version=one["version"], rule=rule_from_record(one["rule"]), paused=one["paused"])
        for one in record["rules"]
    }
    columns = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    evaluator = Evaluator(rules, state=State.from_columns(plan_of(rules), record["at_us"], columns))
    evaluator.settle()  # builds the deadlines; causes no changes
    audiences = {AudienceName(name): Version(version) for name, version in record["audiences"].items()}
    return TenantSegments(tenant=TenantName(record["tenant"]), evaluator=evaluator, audiences=audiences)
