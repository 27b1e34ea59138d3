"""Where the stages of a job run, in how many units or groups, and their time limits, as the workflow will choose."""

from dataclasses import dataclass, replace
from math import ceil

from connectors.sources.units import about
from orchestration.kinds.compute_target import COMPARED, FILE_BYTES, MEMBER_BYTES, ComputeTarget, compute_target
from orchestration.kinds.spread import groups_of, has_groups, has_units, unit_bytes_of
from orchestration.kinds.timeouts import timeouts
from orchestration.platform.settings import Settings
from orchestration.quoting.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage in `runs` functions, tasks or machines (`target`), at most `at_once` side by side.

    `bytes`, `members`: what the largest run processes, which decides its place and time limit. `share`: of the stage's
    rows that it has. `last`: where another run ends the stage, after them.
    """

    target: ComputeTarget
    bytes: int = 0
    members: int = 0
    runs: int = 1
    at_once: int = 1
    share: float = 1.0
    last: ComputeTarget | None = None

    @property
    def divided(self) -> bool:
        """Whether it is divided into units or groups."""
        return self.runs > 1

    @property
    def rounds(self) -> int:
        """How many runs follow one another, if all take as long as the largest."""
        return ceil(self.runs / self.at_once)

    @property
    def targets(self) -> tuple[ComputeTarget, ...]:
        """Of the runs outside of a Map, which the workflow enters one by one."""
        last = () if self.last is None else (self.last,)
        return last if self.divided else (self.target,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlans:
    """The plan of each stage that has a choice."""

    verify: StagePlan
    import_: StagePlan
    build: StagePlan
    publish: StagePlan


def stage_plans(work: Work, settings: Settings) -> StagePlans:
    """Plans by size: of the file, and of the members that building merges and publishing reads (`kinds.records`)."""
    read = _units(work, settings)
    in_order = work.kind == "profiles"  # they are sent by one task
    return StagePlans(
        verify=read,
        import_=_whole(settings, work, 0) if in_order else read,
        build=_groups(settings, work, work.base_members, work.rows + work.base_members),
        publish=_publish(work, settings),
    )


def allowed_s(plans: StagePlans) -> dict[str, int]:
    """Timeout of each stage's runs, in seconds."""
    by_stage = {"verify": plans.verify, "import": plans.import_, "build": plans.build, "publish": plans.publish}
    return {name: timeouts(plan.bytes, plan.members, plan.target)[f"{name}_s"] for name, plan in by_stage.items()}


def _whole(settings: Settings, work: Work, members: int) -> StagePlan:
    size = work.bytes + FILE_BYTES * (work.files - 1)
    return StagePlan(target=compute_target(settings, size + MEMBER_BYTES * members), bytes=size, members=members)


def _units(work: Work, settings: Settings) -> StagePlan:
    whole = _whole(settings, work, 0)
    if not has_units(settings, work.bytes, work.files, cut=work.cut):
        return whole
    runs, largest = about(work.bytes, work.files, unit_bytes_of(settings, work.bytes), ranges=work.cut)
    if runs == 1:
        return whole
    size = largest + FILE_BYTES * (ceil(work.files / runs) - 1)
    return StagePlan(
        target=compute_target(settings, size),
        bytes=size,
        runs=runs,
        at_once=min(runs, settings.units_side_by_side),
        share=largest / work.bytes,
    )


def _groups(settings: Settings, work: Work, members: int, rows: int) -> StagePlan:
    """`members`: besides the file, as the view counts them; `rows`: in all partitions, of which each has as many."""
    whole = _whole(settings, work, members)
    if work.kind != "audience" or not has_groups(settings, whole.bytes + MEMBER_BYTES * members):
        return whole
    groups = groups_of(settings, [rows // settings.partitions for _ in range(settings.partitions)])
    if len(groups) == 1:
        return whole
    share = max(map(len, groups)) / settings.partitions
    largest = round(rows * share)
    return StagePlan(
        target=compute_target(settings, MEMBER_BYTES * largest),
        bytes=MEMBER_BYTES * largest,
        members=largest,
        runs=len(groups),
        at_once=min(len(groups), settings.units_side_by_side),
        share=share,
    )


def _publish(work: Work, settings: Settings) -> StagePlan:
    """The parts are read in groups; another run takes what these have found, and commits."""
    compared = 0 if work.builds else work.base_members // COMPARED
    members = work.published if work.builds else compared
    whole = _whole(settings, work, members)
    if not has_groups(settings, MEMBER_BYTES * work.published):
        return whole
    groups = _groups(settings, work, members, work.published + compared)
    return replace(groups, last=whole.target) if groups.divided else whole
