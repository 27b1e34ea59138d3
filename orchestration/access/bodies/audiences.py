"""Bodies of requests about audiences."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import ResourceName, Shape
from orchestration.access.bodies.imports import ImportSettings
from orchestration.access.bodies.recipients import ChangedRecipients
from orchestration.records.fields import Example
from schemas.file_lists import Folders


class Retention(Shape):
    """How many versions are kept, whatever their age, and up to which age all are. Omitted fields stay.

    Null means the default, 10 versions and 30 days.
    """

    versions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    days: Annotated[int, Field(ge=0, le=100_000)] | None = None

    def edits(self) -> dict[str, int | None]:
        """What is given; None for the default."""
        return self.model_dump(exclude_unset=True)


class NewAudience(Shape):
    """An audience without versions."""

    audience: ResourceName
    settings: ImportSettings = ImportSettings()
    retention: Retention = Retention()
    example: ClassVar[Example] = {"audience": "vip", "settings": {"id_column": "email"}, "retention": {"versions": 30}}


class AudienceChange(Shape):
    """Changes to an audience. Omitted fields stay; `columns` of the settings replaces all.

    `folders`: whether each file of a folder in its inbox is an import (files), or all of them together, once an object
    `_SUCCESS` has come (sets).

    A null setting returns to its default, except that a null `max_shrink_percent` means no limit, and that
    `drop_columns` and `retype_columns` have none.
    """

    settings: ImportSettings = ImportSettings()
    retention: Retention = Retention()
    folders: Folders | None = None
    recipients: ChangedRecipients = ChangedRecipients()
    example: ClassVar[Example] = {"settings": {"mode": "append", "max_shrink_percent": 20.0}}


class ActivityChange(Shape):
    """Changes to how such files are read, as for an audience. Columns are added to the known ones."""

    settings: ImportSettings
    example: ClassVar[Example] = {"settings": {"columns": [{"name": "total", "type": "double"}]}}
