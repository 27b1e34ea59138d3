"""The writer's schema of an Avro file: what its columns are, and a table by which a kernel reads its rows.

https://avro.apache.org/docs/1.12.0/specification/. A column is kept if its type is flat, or null and one flat type.
Others (records, arrays, maps, unions of several types) are read over. Names may refer to types that contain them; the
table then has a cycle. A logical type that does not fit its type counts for nothing, as the specification demands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.sources import avro_kernel as kernel
from connectors.sources.header import MAX_COLUMNS, check_count
from schemas.errors import UserError

MAX_TYPES: Final = 5 * MAX_COLUMNS
"""Types in a schema: with null in a union, a flat column has three."""
MAX_DEPTH: Final = 64
COMPLEX: Final = frozenset({"record", "error", "enum", "fixed", "array", "map"})
SIZE_MAX: Final = 2**31
UUID_BYTES: Final = 16
DECIMAL_DIGITS: Final = ((38, pa.decimal128), (76, pa.decimal256))
"""Most digits of Arrow's types of decimals."""
PRIMITIVE: Final[Mapping[str, tuple[int, pa.DataType]]] = {
    "null": (kernel.NULL, pa.null()),
    "boolean": (kernel.BOOLEAN, pa.bool_()),
    "int": (kernel.INT, pa.int32()),
    "long": (kernel.LONG, pa.int64()),
    "float": (kernel.FLOAT, pa.float32()),
    "double": (kernel.DOUBLE, pa.float64()),
    "bytes": (kernel.BYTES, pa.binary()),
    "string": (kernel.BYTES, pa.string()),
}
LOGICAL: Final[Mapping[tuple[str, str], pa.DataType]] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A type. `arrow`: of its values; nested for what cannot be kept. `links`: nodes inside; `size`: of a fixed."""

    kind: int
    arrow: pa.DataType
    size: int = 0
    links: tuple[int, ...] = ()
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroSchema:
    """`file`: names and types of the columns. `fields`: a node of each. `nodes` (n, 3) and `links`: see the kernel."""

    file: pa.Schema
    fields: tuple[int, ...]
    all: tuple[Node, ...]
    nodes: Longs
    links: Longs

    def flat(self, field: int) -> Node:
        """The type of the values of a column that are not null."""
        node = self.all[self.fields[field]]
        return node if node.kind != kernel.UNION else next(n for i in node.links if (n := self.all[i]).kind)


def read_schema(text: bytes) -> AvroSchema:
    """The schema in a file's metadata. Raises `UserError` CORRUPT_FILE, BAD_HEADER, TOO_MANY_COLUMNS."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _damaged("is not JSON") from exc
    if not isinstance(schema, dict) or schema.get("type") not in {"record", "error"}:
        raise UserError(
            "BAD_HEADER", "the schema of the Avro file is no record, so it has no columns", fault="no_record"
        )
    members = schema.get("fields")
    if not isinstance(members, list):
        raise _damaged("has a record without fields")
    check_count(len(members))
    types = _Types()
    root = types.add(schema, "", 0)
    found = [node for node in types.all if node is not None]
    names = [member["name"] for member in members]
    nodes = np.zeros((len(found), 3), np.int64)
    links: list[int] = []
    for row, node in zip(nodes, found, strict=True):
        row[:] = (node.kind, len(links), node.size or len(node.links) or len(node.symbols))
        links += node.links
    return AvroSchema(
        file=pa.schema([pa.field(name, _column(found, at)) for name, at in zip(names, found[root].links, strict=True)]),
        fields=found[root].links,
        all=tuple(found),
        nodes=nodes,
        links=np.array([*links, 0], np.int64),
    )


def _damaged(why: str) -> UserError:
    return UserError("CORRUPT_FILE", f"the schema of the Avro file {why}")


def _column(nodes: list[Node], at: int) -> pa.DataType:
    """Type of a column: that of the other branch for a union of null and one type."""
    if nodes[at].kind != kernel.UNION:
        return nodes[at].arrow
    others = [nodes[i].arrow for i in nodes[at].links if nodes[i].kind]
    return others[0] if len(others) == 1 else nodes[at].arrow


class _Types:
    """Collects the types of a schema. A type gets its place before those inside of it, which may refer to it."""

    def __init__(self) -> None:
        self.all: list[Node | None] = []
        self._named: dict[str, int] = {}

    def add(self, schema: object, space: str, depth: int) -> int:
        """The place of a type; `space` is the namespace around it."""
        if depth > MAX_DEPTH:
            raise UserError(
                "BAD_HEADER", f"the schema of the Avro file is nested deeper than {MAX_DEPTH} levels", fault="too_deep"
            )
        if len(self.all) > MAX_TYPES:
            raise UserError(
                "TOO_MANY_COLUMNS", f"the schema of the Avro file has more than {MAX_TYPES} types", limit=MAX_TYPES
            )
        while isinstance(schema, dict) and not _defines(schema):  # {"type": {"type": ...}}
            schema = schema.get("type")
        if isinstance(schema, str) and schema not in PRIMITIVE:
            if (at := self._named.get(_full(schema, space), self._named.get(schema))) is None:
                raise _damaged("names a type that it does not define")
            return at
        at = len(self.all)
        self.all.append(None)
        self.all[at] = (
            self._union(schema, space, depth) if isinstance(schema, list) else self._node(at, schema, space, depth)
        )
        return at

    def _node(self, at: int, schema: object, space: str, depth: int) -> Node:
        members = schema if isinstance(schema, dict) else {"type": schema}
        match members.get("type"):
            case "array":
                items = (self.add(members.get("items"), space, depth + 1),)
                return Node(kind=kernel.ARRAY, arrow=pa.list_(pa.null()), links=items)
            case "map":
                values = (self.add(members.get("values"), space, depth + 1),)
                return Node(kind=kernel.MAP, arrow=pa.map_(pa.string(), pa.null()), links=values)
            case "record" | "error":
                return self._record(members, self._define(at, members, space), depth)
            case "enum":
                self._define(at, members, space)
                return _enum(members.get("symbols"))
            case "fixed":
                self._define(at, members, space)
                return _fixed(members, members.get("size"))
            case str() as name if name in PRIMITIVE:
                kind, arrow = PRIMITIVE[name]
                return Node(kind=kind, arrow=_logical(members, name, arrow))
            case _:
                raise _damaged("has a type without a name")

    def _define(self, at: int, members: dict[str, Any], space: str) -> str:
        """Remember the name of a type; returns the namespace for what is inside of it."""
        name, given = members.get("name"), members.get("namespace")
        if not isinstance(name, str) or not name or not isinstance(given, str | None):
            raise _damaged("has a type without a name")
        full = _full(name, space if given is None else given)
        if full in self._named:
            raise _damaged("defines a name twice")
        self._named[full] = at
        return full.rpartition(".")[0]

    def _record(self, members: dict[str, Any], space: str, depth: int) -> Node:
        fields = members.get("fields")
        named = isinstance(fields, list) and all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in fields)
        if not isinstance(fields, list) or not named:
            raise _damaged("has a record without fields")
        if len({f["name"] for f in fields}) < len(fields):
            raise _damaged("has a record with two fields of the same name")
        links = tuple(self.add(f.get("type"), space, depth + 1) for f in fields)
        return Node(kind=kernel.RECORD, arrow=pa.struct([]), links=links)

    def _union(self, branches: list[object], space: str, depth: int) -> Node:
        links = tuple(self.add(branch, space, depth + 1) for branch in branches)
        if not links or any(isinstance(branch, list) for branch in branches):
            raise _damaged("has a union without types, or inside a union")
        names = [b if isinstance(b, str) else str(b.get("type")) if isinstance(b, dict) else "" for b in branches]
        several = pa.dense_union([pa.field(name, pa.null()) for name in names[:8]])
        return Node(kind=kernel.UNION, arrow=several, links=links)


def _defines(members: dict[str, Any]) -> bool:
    """Whether an object defines a type, not only wraps another one."""
    name = members.get("type")
    return name is None or (isinstance(name, str) and (name in PRIMITIVE or name in COMPLEX))


def _enum(symbols: object) -> Node:
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise _damaged("has an enum without symbols")
    return Node(kind=kernel.ENUM, arrow=pa.string(), symbols=tuple(symbols))


def _fixed(members: Mapping[str, Any], size: object) -> Node:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < SIZE_MAX:
        raise _damaged("has a fixed type without a size")
    return Node(kind=kernel.FIXED, arrow=_logical(members, "fixed", pa.binary(size), size), size=size)


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _logical(members: Mapping[str, Any], name: str, arrow: pa.DataType, size: int = 0) -> pa.DataType:
    """The Arrow type of a logical type; `arrow` if there is none, or it does not fit."""
    logical = members.get("logicalType")
    if logical == "decimal" and name in {"bytes", "fixed"}:
        precision, scale = members.get("precision"), members.get("scale", 0)
        if not (isinstance(precision, int) and isinstance(scale, int)) or not 0 <= scale <= precision or precision < 1:
            return arrow
        if name == "fixed" and precision > _digits(size):
            return arrow
        return next((make(precision, scale) for most, make in DECIMAL_DIGITS if precision <= most), arrow)
    if logical == "uuid" and name == "fixed" and size == UUID_BYTES:
        return pa.string()
    return LOGICAL.get((name, logical), arrow) if isinstance(logical, str) else arrow


def _digits(size: int) -> int:
    """Decimal digits that every number of so many bytes in two's complement has room for."""
    return len(str(2 ** (8 * min(size, 64) - 1) - 1)) - 1 if size else 0
