"""Export jobs in the catalog: every change of state is guarded by its table, and leaves a line of history."""

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.export_rows import export_of, locked_export, remember, unknown_export
from orchestration.catalog.records import Export, ExportGroup, ExportTransition, JobError, NewExport
from orchestration.catalog.tables import export_groups, export_transitions, exports, notifications
from schemas.ids import JobId, Version
from segmentation.export_jobs import ENDED, ExportState, export_change
from segmentation.jobs import Change


class ExportStore:
    """Every method is one transaction and may be repeated; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, new: NewExport, *, refused: JobError | None = None) -> Export:
        """Register an export, once; a `refused` one is FAILED from the start. Returns what is registered."""
        with suppress(sa.exc.IntegrityError):  # another try of the same request was quicker
            self._insert(new, refused)
        return self.get(new.export_id)

    def _insert(self, new: NewExport, refused: JobError | None) -> None:
        with self._database.write() as connection:
            known = sa.select(exports.c.export_id).where(exports.c.export_id == new.export_id)
            if connection.execute(known).first() is not None:
                return
            ended = {
                "state": "FAILED",
                "failed_in": "REGISTERED",
                "error": refused.as_record() if refused else None,
                "finished_at_ms": new.created_at_ms,
            }
            connection.execute(
                exports.insert().values(
                    export_id=new.export_id,
                    tenant=new.tenant[:255],
                    audience=new.audience[:255],
                    audience_id=new.audience_id,
                    request=dict(new.request),
                    held=[held.as_record() for held in new.held],
                    execution=new.execution,
                    retry_of=new.retry_of,
                    created_at_ms=new.created_at_ms,
                    **({"state": "REGISTERED"} if refused is None else ended),
                )
            )
            remember(connection, new.export_id, "REGISTERED", None, new.created_at_ms)
            if refused is not None:
                remember(connection, new.export_id, "FAILED", refused.summary, new.created_at_ms)

    def move(
        self,
        export_id: JobId,
        to: ExportState,
        *,
        now_ms: int,
        cause: str | None = None,
        only_from: Set[ExportState] | None = None,
        expecting: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> tuple[Change, Export]:
        """Change the state of an export if the table of states allows it; as `JobStore.move`."""
        with self._database.write() as connection:
            row = locked_export(connection, export_id)
            verdict = export_change(row["state"], to)
            if verdict is Change.APPLIED and only_from is not None and row["state"] not in only_from:
                verdict = Change.REFUSED
            if any(row[name] != seen for name, seen in (expecting or {}).items()):
                verdict = Change.REFUSED
            if verdict is Change.APPLIED:
                if to in ENDED:
                    values["finished_at_ms"] = now_ms
                connection.execute(exports.update().where(exports.c.export_id == export_id).values(state=to, **values))
                remember(connection, export_id, to, cause, now_ms)
            return verdict, export_of(locked_export(connection, export_id))

    def fail(
        self, export_id: JobId, error: JobError, *, now_ms: int, unfinished: bool = False
    ) -> tuple[Change, Export]:
        """End an export in FAILED with its cause, if it is still running.

        One that is FINISHING may have its manifest: it only rolls forward, unless the caller knows that it is
        `unfinished` (the manifest was refused).
        """
        export = self.get(export_id)
        running: set[ExportState] = {"REGISTERED", "WRITING"}
        return self.move(
            export_id,
            "FAILED",
            now_ms=now_ms,
            cause=error.summary,
            only_from=running | {"FINISHING"} if unfinished else running,
            error=error.as_record(),
            failed_in=export.state,
        )

    def adopt(self, export_id: JobId, *, gone: str | None, execution: str) -> bool:
        """Make `execution` the one that a live export belongs to, if it still belongs to the one that is `gone`."""
        with self._database.write() as connection:
            row = locked_export(connection, export_id)
            if row["execution"] != gone or row["state"] in ENDED:
                return False
            connection.execute(exports.update().where(exports.c.export_id == export_id).values(execution=execution))
            return True

    def put(self, export_id: JobId, **values: Any) -> None:
        """Set columns of an export without changing its state."""
        with self._database.write() as connection:
            connection.execute(exports.update().where(exports.c.export_id == export_id).values(**values))

    def plan(self, export_id: JobId, groups: Sequence[tuple[int, int]]) -> None:
        """Write the groups down as (bytes, expected rows), once."""
        with self._database.write() as connection:
            locked_export(connection, export_id)
            known = sa.select(export_groups.c.number).where(export_groups.c.export_id == export_id)
            if connection.execute(known).first() is not None:
                return
            for number, (size, rows) in enumerate(groups):
                connection.execute(
                    export_groups.insert().values(
                        export_id=export_id, number=number, bytes=size, expected_rows=rows, attempt=0, rows=0
                    )
                )

    def begin_group(self, export_id: JobId, number: int, *, now_ms: int) -> int:
        """Begin a try to write a group; its number, from 1."""
        mine = (export_groups.c.export_id == export_id) & (export_groups.c.number == number)
        with self._database.write() as connection:
            connection.execute(
                export_groups.update()
                .where(mine)
                .values(attempt=export_groups.c.attempt + 1, rows=0, beat_at_ms=now_ms)
            )
            return int(connection.execute(sa.select(export_groups.c.attempt).where(mine)).scalar_one())

    def set_group(self, export_id: JobId, number: int, **values: Any) -> None:
        """Set columns of a group: rows and beat_at_ms while it is written, record or error at its end."""
        mine = (export_groups.c.export_id == export_id) & (export_groups.c.number == number)
        with self._database.write() as connection:
            connection.execute(export_groups.update().where(mine).values(**values))

    def groups(self, export_id: JobId) -> list[ExportGroup]:
        """All groups by their numbers; none before the plan."""
        query = sa.select(export_groups).where(export_groups.c.export_id == export_id).order_by(export_groups.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            ExportGroup(
                number=row["number"],
                bytes=row["bytes"],
                expected_rows=row["expected_rows"],
                attempt=row["attempt"],
                rows=row["rows"],
                beat_at_ms=row["beat_at_ms"],
                record=row["record"],
                error=None if row["error"] is None else JobError(**row["error"]),
            )
            for row in rows
        ]

    def get(self, export_id: JobId) -> Export:
        """One export. Raises `UserError` UNKNOWN_EXPORT."""
        if (found := self.find(export_id)) is None:
            raise unknown_export(export_id)
        return found

    def find(self, export_id: JobId) -> Export | None:
        """One export, or none."""
        return next(iter(self._select(exports.c.export_id == export_id)), None)

    def of_execution(self, execution: str) -> Export | None:
        """The export that an execution has registered or taken over, or none."""
        return next(iter(self._select(exports.c.execution == execution)), None)

    def search(
        self,
        *,
        tenant: str | None = None,
        audience: str | None = None,
        states: Sequence[ExportState] = (),
        limit: int = 100,
    ) -> list[Export]:
        """Newest exports first."""
        where = [
            column == value for column, value in ((exports.c.tenant, tenant), (exports.c.audience, audience)) if value
        ]
        if states:
            where.append(exports.c.state.in_(states))
        return self._select(*where, newest_first=True, limit=limit)

    def live(self) -> list[Export]:
        """All exports that have not ended, oldest first."""
        return self._select(exports.c.state.not_in(ENDED))

    def to_sweep(self, now_ms: int, *, after_ms: int, again_after_ms: int) -> list[Export]:
        """Exports that ended `after_ms` ago and were never swept, or `again_after_ms` ago and were not swept since."""
        swept, finished = exports.c.swept_at_ms, exports.c.finished_at_ms
        never = swept.is_(None) & (finished < now_ms - after_ms)
        again = (finished < now_ms - again_after_ms) & (swept < finished + again_after_ms)
        return self._select(exports.c.state.in_(ENDED), never | again)

    def last_version(self, schedule_id: JobId, audience_id: JobId) -> Version | None:
        """The newest version of an audience that a READY export of a schedule has written; none before the first."""
        mine = exports.c.request["schedule"].as_string() == schedule_id
        ready = self._select(mine, exports.c.audience_id == audience_id, exports.c.state == "READY")
        written = [Version(export.outcome["version"]) for export in ready if export.outcome is not None]
        return max(written, default=None)

    def untold(self, *, finished_before_ms: int, finished_after_ms: int, limit: int = 50) -> list[Export]:
        """Exports that have ended, other than by a cancel, and of which nobody has written anything."""
        told = sa.select(notifications.c.subject).where(notifications.c.subject == exports.c.export_id).exists()
        return self._select(
            exports.c.state.in_(("READY", "FAILED")),
            exports.c.finished_at_ms.between(finished_after_ms, finished_before_ms),
            ~told,
            limit=limit,
        )

    def history(self, export_id: JobId) -> list[ExportTransition]:
        """All state changes in order."""
        t = export_transitions.c
        query = sa.select(t.state, t.cause, t.at_ms).where(t.export_id == export_id).order_by(t.sequence)
        with self._database.read() as connection:
            return [ExportTransition(**row) for row in connection.execute(query).mappings()]

    def _select(
        self, *where: sa.ColumnElement[bool], newest_first: bool = False, limit: int | None = None
    ) -> list[Export]:
        order = exports.c.export_id.desc() if newest_first else exports.c.export_id
        with self._database.read() as connection:
            found = connection.execute(sa.select(exports).where(*where).order_by(order).limit(limit)).mappings()
            return [export_of(row) for row in found]
