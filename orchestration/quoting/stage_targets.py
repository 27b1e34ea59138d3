"""Where the stages of a job run, as the workflow will choose, and the time limits it gives them."""

from dataclasses import dataclass

from orchestration.kinds.compute_target import COMPARED, MEMBER_BYTES, ComputeTarget, compute_target
from orchestration.kinds.timeouts import timeouts
from orchestration.platform.settings import Settings
from orchestration.quoting.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTargets:
    """The place of each stage that has a choice."""

    verify: ComputeTarget
    import_: ComputeTarget
    build: ComputeTarget
    publish: ComputeTarget


def stage_targets(work: Work, settings: Settings) -> StageTargets:
    """Places by size: of the file, and of the members that building merges and publishing reads (`kinds.records`)."""
    by_file = compute_target(settings, work.bytes)
    return StageTargets(
        verify=by_file,
        import_=by_file,
        build=compute_target(settings, work.bytes + MEMBER_BYTES * work.base_members),
        publish=compute_target(settings, work.bytes + MEMBER_BYTES * _reread(work)),
    )


def allowed_s(work: Work, targets: StageTargets) -> dict[str, int]:
    """Timeout of each stage's state, in seconds."""
    by_file = timeouts(work.bytes, 0, targets.verify)
    return {
        "verify": by_file["verify_s"],
        "import": by_file["import_s"],
        "build": timeouts(work.bytes, work.base_members, targets.build)["build_s"],
        "publish": timeouts(work.bytes, _reread(work), targets.publish)["publish_s"],
    }


def _reread(work: Work) -> int:
    """Members that publishing reads besides the file: those that were built, or that a replace is compared with."""
    return work.published if work.builds else work.base_members // COMPARED
