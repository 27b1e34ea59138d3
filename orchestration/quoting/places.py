"""Where the stages of a job run, as the workflow will choose, and the time limits it gives them."""

from dataclasses import dataclass

from orchestration.kinds.timeouts import timeouts
from orchestration.kinds.where import COMPARED, MEMBER_BYTES, Place, place_of
from orchestration.platform.settings import Settings
from orchestration.quoting.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlaces:
    """The place of each stage that has a choice."""

    verify: Place
    import_: Place
    build: Place
    publish: Place


def places_of(work: Work, settings: Settings) -> StagePlaces:
    """Places by size: of the file, and of the members that building merges and publishing reads (`kinds.records`)."""
    by_file = place_of(settings, work.bytes)
    return StagePlaces(
        verify=by_file,
        import_=by_file,
        build=place_of(settings, work.bytes + MEMBER_BYTES * work.base_members),
        publish=place_of(settings, work.bytes + MEMBER_BYTES * _reread(work)),
    )


def allowed_s(work: Work, places: StagePlaces) -> dict[str, int]:
    """Timeout of each stage's state, in seconds."""
    by_file = timeouts(work.bytes, 0, places.verify)
    return {
        "verify": by_file["verify_s"],
        "import": by_file["import_s"],
        "build": timeouts(work.bytes, work.base_members, places.build)["build_s"],
        "publish": timeouts(work.bytes, _reread(work), places.publish)["publish_s"],
    }


def _reread(work: Work) -> int:
    """Members that publishing reads besides the file: those that were built, or that a replace is compared with."""
    return work.published if work.builds else work.base_members // COMPARED
