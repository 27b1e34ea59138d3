"""Building a version (an append to as many members) and publishing one, over the stack's S3 server. No goals.

Half of the appended rows are members already. The rate of building counts the rows of both sides, since both are read;
the rate of publishing counts the rows of the parts, each of which is read back before the commit.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from benchmarks.generate import users
from benchmarks.measure import Result, best_of
from benchmarks.setting import SPEC, Setting
from benchmarks.versions import TENANT, make_parts, replacing
from connectors.lake.build import BaseVersion, ImportedParts, build_version
from orchestration.catalog.references import ref_of
from orchestration.composition.context import Context
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Settings
from schemas.ids import Attempt, AudienceName
from schemas.layout import data_prefix
from schemas.warm import warm
from segmentation.versions import AudienceRef, Part, Published

BUILD: Final = "muster build, append"
PUBLISH: Final = "muster publish version"
SEED: Final = 13
SCHEMA: Final = SPEC.row_schema


def run(setting: Setting) -> list[Result]:
    """Write parts as imports would leave them. The base is published first, so that building finds it in the lake."""
    context = Context(setting.settings)
    context.audiences.add_tenant(TENANT, 1)
    ref = ref_of(context.audiences.ensure(TENANT, AudienceName("built"), new_id=fresh_id(), now_ms=1))
    random = np.random.default_rng(SEED)
    both = pa.Table.from_batches(list(users(random, setting.rows * 3 // 2)))
    sides = both.slice(0, setting.rows), both.slice(setting.rows // 2, setting.rows)
    base, incoming = (make_parts(context, ref, side, SCHEMA, fresh_id(), setting.scratch) for side in sides)
    published = best_of(setting.repeat, publish, setting.settings, ref, base, prepare=warm)
    built = best_of(setting.repeat, build, setting.settings, ref, incoming, prepare=warm)
    stored = sum(part.bytes for part in base)
    note = f"{stored / 1e6:.0f} MB of parts"
    return [
        Result(benchmark="version", label=BUILD, best=built, note=f"{setting.rows:,} rows to as many members"),
        Result(benchmark="version", label=PUBLISH, best=published, note=note, stored_bytes=stored),
    ]


def publish(settings: Settings, ref: AudienceRef, parts: tuple[Part, ...]) -> int:
    """Read and digest every part again, then commit once."""
    context, import_id = Context(settings), fresh_id()
    outcome = context.versions.publish(replacing(ref, parts, SCHEMA, import_id, import_id, settings.partitions))
    if not isinstance(outcome, Published):
        raise TypeError(f"the version was not published: {outcome}")
    return outcome.members


def build(settings: Settings, ref: AudienceRef, parts: tuple[Part, ...]) -> int:
    """Merge the rows of both sides into new parts, under a new import id, so that no part exists already."""
    context = Context(settings)
    current = context.versions.current(ref)
    if current is None:
        raise RuntimeError("there is no version to build on")
    base = BaseVersion(info=current, parts=context.versions.files(ref, current.version))
    imported = ImportedParts(
        import_id=fresh_id(),
        attempt=Attempt(1),
        mode="append",
        partitions=settings.partitions,
        row_schema=SCHEMA,
        parts=parts,
    )
    prefix = data_prefix(context.settings.lake_bucket, ref.tenant, ref.audience_id)
    built = build_version(imported, base, s3=context.s3, limits=context.duck_limits, data_prefix=prefix)
    return built.counts.base + sum(part.rows for part in imported.parts)
