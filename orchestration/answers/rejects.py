"""Rejected rows of a job, and what each of its files had."""

import io
from typing import Any, Final

from pyarrow import parquet as pq

from orchestration.answers.reading import Reading
from orchestration.answers.users import plain
from orchestration.operations.rejects import files_table, rejects_file
from orchestration.readers.questions import ReadFiles, ReadRejects


def read_rejects(reading: Reading, asked: ReadRejects) -> dict[str, Any]:
    """How many rows were kept, and some of them with `number`; pass the last one as `skip` for the next page."""
    context = reading.context
    file = rejects_file(asked.job, jobs=context.jobs, objects=context.objects, settings=context.settings)
    if file is None:
        return {"kept": 0, "rows": []}
    rows = some_rejects(file, code=asked.code, skip=asked.skip, limit=asked.limit)
    return {"kept": kept_rejects(file), "rows": [plain(row) for row in rows]}


def some_rejects(file: bytes, *, code: str | None, skip: int, limit: int) -> list[dict[str, Any]]:
    """At most `limit` rejects [with a code], after the first `skip` of the file.

    Each has `number`, its place among all rejects of the file.
    """
    rows: list[dict[str, Any]] = []
    number = 0
    for batch in pq.ParquetFile(io.BytesIO(file)).iter_batches(batch_size=10_000):
        if number + batch.num_rows <= skip:
            number += batch.num_rows
            continue
        for row in batch.to_pylist():
            number += 1
            if number <= skip or code not in {None, row["code"]}:
                continue
            rows.append({"number": number, "file": None, **row})
            if len(rows) == limit:
                return rows
    return rows


def kept_rejects(file: bytes) -> int:
    """How many rejects a file has."""
    return int(pq.ParquetFile(io.BytesIO(file)).metadata.num_rows)


def read_files(reading: Reading, asked: ReadFiles) -> dict[str, Any]:
    """Rows of the table of files; none before verification has ended."""
    context = reading.context
    found = files_table(asked.job, jobs=context.jobs, objects=context.objects, settings=context.settings)
    if found is None:
        return {"rows": []}
    content = context.objects.get(found.bucket, found.key)
    return {"rows": pq.read_table(io.BytesIO(content)).slice(asked.skip, asked.limit).to_pylist()}


ANSWERS: Final = {ReadRejects: read_rejects, ReadFiles: read_files}
