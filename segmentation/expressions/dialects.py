"""What differs between the engines that evaluate filters and rules: DuckDB, and Spark.

Texts are built from these pieces and from SQL that both read alike. A construct that an engine reads otherwise, or not
at all, becomes a method here: no library translates SQL, since translations change the meaning of some constructs
silently (docs/adr/0042-rules-on-spark.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from schemas.columns import ColumnType
from schemas.sql_text import identifier


class Dialect(ABC):
    """Pieces of SQL. `types`: the engine's types by ours."""

    types: ClassVar[Mapping[ColumnType, str]]

    @abstractmethod
    def identifier(self, name: str) -> str:
        """A name, quoted."""

    @abstractmethod
    def moment(self, micros: str) -> str:
        """The instant that is a number of microseconds after 1970, whatever the session's time zone."""

    @abstractmethod
    def micros(self, moment: str) -> str:
        """Microseconds after 1970 of an instant, as a bigint."""

    @abstractmethod
    def computed_once(self, name: str) -> str:
        """How a common table that is read several times begins, up to its parenthesis."""

    @abstractmethod
    def has_key(self, map_: str, key: str) -> str:
        """Whether a map has a key; null if there is no map."""

    @abstractmethod
    def place(self, offset: str, ordinal: str) -> str:
        """A value that sorts rows by offset, then by ordinal; both are bigints, not negative."""

    @abstractmethod
    def latest(self, value: str, place: str) -> str:
        """The aggregate of the value, null or not, at the greatest place; rows whose place is null do not count."""

    @abstractmethod
    def bucket(self, text: str, digits: int, buckets: int) -> str:
        """The number that the first hexadecimal digits of the SHA-256 of a text make, modulo a number of buckets."""

    def parameter(self, type_: ColumnType) -> str:
        """A bound value of a type; `sql.parameter` says how it is bound."""
        if type_ == "timestamp":  # not a text, which a session's zone could change
            return self.moment(self.parameter("long"))
        return f"CAST(? AS {self.types[type_]})"


class _DuckDb(Dialect):
    types: ClassVar = {
        "string": "VARCHAR",
        "long": "BIGINT",
        "double": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "timestamp": "TIMESTAMPTZ",
    }
    _ordinals = 2**62
    """Combines an offset and an ordinal into one HUGEINT."""

    def identifier(self, name: str) -> str:
        return identifier(name)

    def moment(self, micros: str) -> str:
        return f"make_timestamptz({micros})"

    def micros(self, moment: str) -> str:
        return f"epoch_us({moment})"

    def computed_once(self, name: str) -> str:
        return f"WITH {name} AS MATERIALIZED "

    def has_key(self, map_: str, key: str) -> str:
        return f"map_contains({map_}, {key})"

    def place(self, offset: str, ordinal: str) -> str:
        return f"{offset}::HUGEINT * {self._ordinals} + {ordinal}"

    def latest(self, value: str, place: str) -> str:
        return f"arg_max_null({value}, {place})"

    def bucket(self, text: str, digits: int, buckets: int) -> str:
        return f"(('0x' || substr(sha256({text}), 1, {digits}))::BIGINT % {buckets})"


class _Spark(Dialect):
    types: ClassVar = {
        "string": "STRING",
        "long": "BIGINT",
        "double": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "timestamp": "TIMESTAMP",
    }

    def identifier(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def moment(self, micros: str) -> str:
        return f"timestamp_micros({micros})"

    def micros(self, moment: str) -> str:
        return f"unix_micros({moment})"

    def computed_once(self, name: str) -> str:
        return f"WITH {name} AS "  # Spark decides for itself

    def has_key(self, map_: str, key: str) -> str:
        return f"map_contains_key({map_}, {key})"

    def place(self, offset: str, ordinal: str) -> str:
        return f"struct({offset}, {ordinal})"

    def latest(self, value: str, place: str) -> str:
        return f"max_by({value}, {place})"

    def bucket(self, text: str, digits: int, buckets: int) -> str:
        return f"(CAST(conv(substr(sha2({text}, 256), 1, {digits}), 16, 10) AS BIGINT) % {buckets})"


DUCKDB: Final[Dialect] = _DuckDb()
SPARK: Final[Dialect] = _Spark()
