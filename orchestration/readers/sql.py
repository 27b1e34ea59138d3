"""SQL over the data of tenants, with limits on its answer.

A query takes a reader's place, and its reader finds the files. The query itself runs in a child of the service that
sees these files and nothing else (`connectors.lake.sql`): a reader could not start it, since it may start no program.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from connectors.lake.sql import Answer, Resolved, Row, query
from connectors.lake.sql_tree import Call
from connectors.storage.access import S3Access
from connectors.storage.duck_limits import DuckLimits
from orchestration.platform.duck_limits import duck_limits
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import SANDBOX_REQUIRED, Settings
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.pool import Readers
from orchestration.readers.questions import FindData
from orchestration.records.questions import Column, QueryResult
from schemas.columns import RowSchema
from schemas.errors import MusterError
from schemas.records import as_record, from_record

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of the rows of an answer as JSON."""
STREAMED_ROWS: Final = 1000
"""At a time."""
Meaning = Callable[[Call], FindData]
"""What a call in a query stands for; raises for what the caller may not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlRunner:
    """Runs the queries of a service."""

    readers: Readers
    s3: S3Access
    limits: DuckLimits
    sandbox_required: bool

    @classmethod
    def of(cls, settings: Settings, readers: Readers) -> "SqlRunner":
        """The runner of a deployment."""
        return cls(
            readers=readers,
            s3=s3_access(settings),
            limits=duck_limits(settings),
            sandbox_required=settings.sandbox == SANDBOX_REQUIRED,
        )

    def run(
        self,
        tenant: str,
        text: str,
        meaning: Meaning,
        cancellation: Cancellation,
        *,
        parameters: Mapping[str, str],
        rows: int,
        timeout_s: float,
    ) -> QueryResult:
        """Columns, and at most `rows` rows and `MOST_BYTES` of them; `truncated` if there are more.

        `tenant`: whose query it is.
        Raises as `connectors.lake.sql.query`, `Readers.hold`, and what `meaning` raises.
        """
        with (
            self.readers.hold(tenant, cancellation) as held,
            self._running(text, parameters, lambda call: held.ask(meaning(call)), cancellation, timeout_s) as answer,
        ):
            found, truncated = _limited(answer.rows, rows)
        return QueryResult(columns=_columns(answer), rows=found, truncated=truncated)

    def stream(
        self,
        text: str,
        meaning: Meaning,
        cancellation: Cancellation,
        put: Callable[[dict[str, Any]], None],
        *,
        parameters: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        """As `run`, but `put` gets {columns}, and then all rows, some at a time, as {rows}.

        A reader is held only while it finds the files, not for the hour that such a query may take.
        """

        def found(call: Call) -> dict[str, Any]:
            answer: dict[str, Any] = self.readers.ask(meaning(call), cancellation)
            return answer

        with (
            self.readers.counted(cancellation),
            self._running(text, parameters, found, cancellation, timeout_s) as answer,
        ):
            put({"columns": [as_record(one) for one in _columns(answer)]})
            rows = iter(answer.rows)
            while some := list(islice(rows, STREAMED_ROWS)):
                put({"rows": some})

    @contextmanager
    def _running(
        self,
        text: str,
        parameters: Mapping[str, str],
        find: Callable[[Call], dict[str, Any]],
        cancellation: Cancellation,
        timeout_s: float,
    ) -> Iterator[Answer]:
        def resolve(call: Call) -> Resolved:
            found = find(call)
            schema = None if found["schema"] is None else RowSchema.from_record(found["schema"])
            return replace(from_record(Resolved, {**found, "schema": None}), schema=schema)

        def while_running(stop: Callable[[], None]) -> nullcontext[None]:
            cancellation.on_set(stop)
            return nullcontext()

        try:
            with query(
                text,
                resolve,
                s3=self.s3,
                limits=self.limits,
                timeout_s=timeout_s,
                parameters=parameters,
                sandbox_required=self.sandbox_required,
                while_running=while_running,
            ) as answer:
                yield answer
        except MusterError:
            cancellation.check()  # its end looks like a crash of the query
            raise


def _columns(answer: Answer) -> list[Column]:
    return [Column(name=name, type=type_) for name, type_ in zip(answer.names, answer.types, strict=True)]


def _limited(rows: Iterable[Row], most: int) -> tuple[list[Row], bool]:
    """The first rows, and whether there are more."""
    found: list[Row] = []
    left = MOST_BYTES
    for row in rows:
        left -= len(json.dumps(row))
        if len(found) >= most or left < 0:
            return found, True
        found.append(row)
    return found, False
