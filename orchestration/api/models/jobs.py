"""The receipt of a job."""

from typing import ClassVar

from pydantic import ConfigDict

from orchestration.access.bodies.common import JOB, Example, Id, Shape


class Receipt(Shape):
    """The receipt of a job: rows = accepted + rejected, and what was published (docs/cli.md).

    `nulls_by_column`: members without a value; `emptied_columns`: those with values in the version before and none in
    this one, null if one of the two did not count them. Neither is in receipts of events and profiles.
    """

    model_config = ConfigDict(extra="allow")
    job: Id
    rows: int
    accepted: int
    rejected: int
    nulls_by_column: dict[str, int] | None = None
    emptied_columns: list[str] | None = None
    example: ClassVar[Example] = {
        "job": JOB,
        "rows": 5,
        "accepted": 3,
        "rejected": 2,
        "nulls_by_column": {"age": 1, "city": 3},
        "emptied_columns": ["city"],
    }
