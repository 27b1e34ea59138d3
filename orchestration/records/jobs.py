"""Jobs (so far only what starts one answers, and why one failed)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, Example, Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A job that was started. It is registered within seconds: until then its id is unknown."""

    job: Id
    state: Literal["SUBMITTED"] = "SUBMITTED"
    example: ClassVar[Example] = {"job": EXAMPLE_ID, "state": "SUBMITTED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFault:
    """Why a job failed. `kind` user: the file or the request is at fault; system: Muster is."""

    kind: str
    code: str
    message: str
    detail: Mapping[str, Any]
