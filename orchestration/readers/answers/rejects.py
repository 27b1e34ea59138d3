"""Rejected rows of a job."""

from typing import Any, Final

from orchestration.operations.rejects import rejects_file, some_rejects
from orchestration.readers.answers.users import plain
from orchestration.readers.questions import ReadRejects
from orchestration.readers.reading import Reading


def read_rejects(reading: Reading, asked: ReadRejects) -> list[dict[str, Any]]:
    """Rows with `number`, after which they go on as `skip`. None if no rows were kept."""
    context = reading.context
    file = rejects_file(asked.job, jobs=context.jobs, objects=context.objects, settings=context.settings)
    rows = [] if file is None else some_rejects(file, code=asked.code, skip=asked.skip, limit=asked.limit)
    return [{name: plain(value) for name, value in row.items()} for row in rows]


ANSWERS: Final = {ReadRejects: read_rejects}
