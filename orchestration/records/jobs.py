"""Jobs (so far only what starts one answers)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, Example, Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A job that was started. It is registered within seconds: until then its id is unknown."""

    job: Id
    state: Literal["SUBMITTED"] = "SUBMITTED"
    example: ClassVar[Example] = {"job": EXAMPLE_ID, "state": "SUBMITTED"}
