"""Where the stages of a job run."""

from dataclasses import dataclass
from typing import Final, Literal

from orchestration.quoting.work import Work
from orchestration.settings import Settings

Place = Literal["function", "task", "machine"]
MEMBER_BYTES: Final = 64
TASK_BYTES: Final = 64 * 1024**3


def place_of(settings: Settings, work_bytes: int) -> Place:
    """Where a step that has to do with so many bytes of source runs."""
    if work_bytes <= settings.lambda_file_bytes:
        return "function"
    return "task" if work_bytes <= TASK_BYTES else "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlaces:
    """The place of each stage that has a choice."""

    verify: Place
    import_: Place
    build: Place
    publish: Place


def places_of(work: Work, settings: Settings) -> StagePlaces:
    """As the view of the job will have it (`steps.view`): by the file, and by the members that are merged with it."""
    by_file = place_of(settings, work.bytes)
    merged = work.published if work.builds else 0
    return StagePlaces(
        verify=by_file,
        import_=by_file,
        build=place_of(settings, work.bytes + MEMBER_BYTES * work.base_members),
        publish=place_of(settings, work.bytes + MEMBER_BYTES * merged),
    )
