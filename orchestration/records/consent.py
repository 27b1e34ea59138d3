"""The consent policy of a tenant: whose members no export to a destination may contain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from orchestration.records.fields import About, Example

ListName = Annotated[str, About("An audience, or a segment that has been exported.", max_length=63)]
Destination = Annotated[
    str | None,
    About("s3://bucket/prefix/, kafka://TOPIC, profile:NAME or download; null: every destination.", max_length=1024),
]
MaxAge = Annotated[
    int | None, About("Seconds; exports are refused if the list is older.", ge=1, le=10 * 365 * 24 * 3600)
]
Exempt = Annotated[bool, About("The list does not apply to this destination, whatever applies to others.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentList:
    """Members of this audience are left out of all exports to a destination, or are not. The closest entry decides."""

    audience: ListName
    destination: Destination = None
    max_age_s: MaxAge = None
    exempt: Exempt = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """The consent policy of a tenant. Each change has a new number; 0: there never was one."""

    policy: int
    items: Annotated[Sequence[ConsentList], About(max_length=100)]
    revision: ClassVar = ("policy",)
    example: ClassVar[Example] = {
        "policy": 3,
        "items": [{"audience": "unsubscribed", "destination": None, "max_age_s": 172800, "exempt": False}],
    }
