"""Bodies of requests about consent policies."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import ResourceName, Shape, described
from orchestration.records import consent
from orchestration.records.fields import Example


class ConsentList(Shape):
    """Members of this audience are left out of all exports to a destination, or are not. The closest entry decides."""

    audience: ResourceName
    destination: Annotated[str | None, described(consent.Destination.__metadata__[0])] = None
    max_age_s: Annotated[int | None, described(consent.MaxAge.__metadata__[0])] = None
    exempt: Annotated[bool, described(consent.Exempt.__metadata__[0])] = False


class NewConsent(Shape):
    """The consent policy of a tenant, as a whole."""

    items: Annotated[list[ConsentList], Field(max_length=100)]
    example: ClassVar[Example] = {
        "items": [{"audience": "unsubscribed", "destination": "s3://crm/acme/", "max_age_s": 172800, "exempt": False}]
    }
