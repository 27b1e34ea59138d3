"""What the functions that answer work with, in the process of a reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from connectors.lake.segment_queries import SegmentQueries
from connectors.storage.duck import connect, session_of
from orchestration.answers.interruption import Interruption
from orchestration.composition.context import Context

if TYPE_CHECKING:
    import duckdb

    from orchestration.kinds.segment_meaning import Meanings


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Stores of the process and one DuckDB for all questions. Not slotted: cached.

    DuckDB stays, and with it its cache of files: all that it reads are never changed.
    """

    context: Context
    interruption: Interruption = field(default_factory=Interruption)

    def load(self) -> None:
        """Create what is slow to create."""
        self.duck.execute("SELECT 1").fetchall()
        _ = self.meanings

    @cached_property
    def duck(self) -> "duckdb.DuckDBPyConnection":
        """The database behind all sessions."""
        connection = connect(self.context.duck_limits, self.context.s3)
        connection.execute("SET GLOBAL validate_external_file_cache = 'NO_VALIDATION'")  # files are never changed
        return connection

    @contextmanager
    def session(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        """A connection that ends with the question, and that its end interrupts."""
        session = session_of(self.duck)
        try:
            with self.interruption.stopping(session.interrupt):
                yield session
        finally:
            session.close()

    @cached_property
    def meanings(self) -> "Meanings":
        """The resolver of rules, whose queries can be interrupted."""
        context = self.context
        queries = SegmentQueries(context.s3, context.duck_limits, self.session)
        return replace(context.meanings, queries=queries, cluster=context.cluster(self.interruption.stopping))
