"""Schemas of the document, made from the types of records."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model

from orchestration.access.bodies.common import Shape, described
from orchestration.records.fields import Absent

ABOUT_PAGES: Final = "A page of a list; `next` is the cursor of the rest."
MODELS: Final[dict[str, type[Shape]]] = {}
"""All models that were made, by name."""


@cache
def model_of(record: Any) -> Any:
    """The model of a record, or of a union of records."""
    if get_origin(record) is Annotated:
        return model_of(record.__origin__)
    if get_origin(record) in {Union, UnionType}:
        return reduce(or_, map(model_of, get_args(record)))
    hints = get_type_hints(record, include_extras=True)
    base = next((model_of(one) for one in record.__mro__[1:] if "__dataclass_fields__" in vars(one)), Shape)
    inherited = {one.alias or name for name, one in base.model_fields.items()}
    own = dict(_member(one.name, hints[one.name]) for one in fields(record) if one.name not in inherited)
    return _named(record.__name__, record.__doc__, base, vars(record).get("example", {}), own)


@cache
def page_model(record: Any) -> type[Shape]:
    """The model of a page of records. `page` of the record: its name, where that is not the record's."""
    members = {"items": (list[model_of(record)], ...), "next": (str | None, ...)}  # type: ignore[misc]
    name, one = getattr(record, "page", f"{record.__name__}Page"), record
    if get_origin(record) is Annotated:  # a union and its name
        name, one = f"{record.__metadata__[0]}Page", get_args(record.__origin__)[0]
    example = {"items": [one.example], "next": None}
    return _named(name, ABOUT_PAGES, Shape, example, members)


@cache
def list_model(record: Any) -> type[Shape]:
    """The model of all records of a list at once."""
    members = {"items": (list[model_of(record)], ...)}  # type: ignore[misc]
    return _named(f"{record.__name__}s", "A list without pages.", Shape, {"items": [record.example]}, members)


def _named(name: str, about: str | None, base: type[Shape], example: Any, members: Any) -> type[Shape]:
    made: type[Shape] = create_model(name, __base__=base, __doc__=about, **members)
    made.example = example
    MODELS[name] = made
    return made


def _member(name: str, hint: Any) -> tuple[str, Any]:
    """A field for pydantic, which may not be called like a method of its models."""
    default = None if Absent in get_args(hint) else ...
    if hasattr(BaseModel, name):
        return f"{name}_", (_typed(hint), Field(default, alias=name))
    return name, (_typed(hint), default)


def _typed(hint: Any) -> Any:
    """A field's type for pydantic: models in place of records, and descriptions in place of `About`."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, *extra = inner
        return Annotated[(_typed(kind), *map(described, extra))]
    if origin is Sequence:
        return list[_typed(inner[0])]  # type: ignore[misc]
    if origin is Mapping:
        return dict[_typed(inner[0]), _typed(inner[1])]  # type: ignore[misc]
    if origin in {Union, UnionType}:
        return reduce(or_, (_typed(one) for one in inner if one is not Absent))
    return model_of(cast(Any, hint)) if is_dataclass(hint) else hint
