"""Lists of named things: those with a part of a name, in an order, page by page."""

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

Order = Literal["name", "-name", "-created"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a list shows, and in which order. `part`: of the names, in upper or lower case; empty: all.

    Ids begin with their time, so `-created` goes by them.
    """

    part: str = ""
    order: Order = "name"

    def fits(self, name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """The condition for the names."""
        return name.icontains(self.part, autoescape=True) if self.part else sa.true()

    def after(self, key: str, name: sa.ColumnElement[str], id_: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """The condition for what comes after a row; empty: all."""
        if not key:
            return self.fits(name)
        rest = {"name": name > key, "-name": name < key, "-created": id_ < key}[self.order]
        return sa.and_(self.fits(name), rest)

    def by(self, name: sa.ColumnElement[str], id_: sa.ColumnElement[str]) -> sa.ColumnElement[Any]:
        """The order of the rows."""
        return {"name": name.asc(), "-name": name.desc(), "-created": id_.desc()}[self.order]

    def key(self, name: str, id_: str) -> str:
        """What the rest of the list comes after."""
        return id_ if self.order == "-created" else name


BY_NAME = Listing()
