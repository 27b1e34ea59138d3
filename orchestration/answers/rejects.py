"""Rejected rows of a job."""

from typing import Any, Final

from orchestration.answers.reading import Reading
from orchestration.answers.users import plain
from orchestration.operations.rejects import kept_rejects, rejects_file, some_rejects
from orchestration.readers.questions import ReadRejects


def read_rejects(reading: Reading, asked: ReadRejects) -> dict[str, Any]:
    """How many rows were kept, and some of them with `number`; pass the last one as `skip` for the next page."""
    context = reading.context
    file = rejects_file(asked.job, jobs=context.jobs, objects=context.objects, settings=context.settings)
    if file is None:
        return {"kept": 0, "rows": []}
    rows = some_rejects(file, code=asked.code, skip=asked.skip, limit=asked.limit)
    return {"kept": kept_rejects(file), "rows": [{n: plain(value) for n, value in row.items()} for row in rows]}


ANSWERS: Final = {ReadRejects: read_rejects}
