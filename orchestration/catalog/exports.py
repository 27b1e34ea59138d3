"""Export jobs in the catalog, with their groups."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.life_cycle import REGISTERED, JobTable, LifeCycleStore
from orchestration.catalog.records import Export, ExportGroup, ExportTransition, JobError, Lease, NewExport
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import export_groups, export_transitions, exports, notifications
from schemas.errors import UserError
from schemas.ids import JobId
from segmentation.export_jobs import AWAITING, ENDED, EXPORT_LIFE_CYCLE, ExportState

EXPORT_TABLE: Final = JobTable(exports, exports.c.export_id, export_transitions, export_transitions.c.export_id)


class ExportStore(LifeCycleStore[Export, ExportState]):
    """Exports, their groups and their history."""

    life_cycle = EXPORT_LIFE_CYCLE
    _table = exports
    _key = exports.c.export_id
    _rows = EXPORT_TABLE
    _kind = sa.literal("export")

    def register(self, new: NewExport, *, refused: JobError | None = None) -> Export:
        """Register an export once; one with a snapshot is AWAITING, a `refused` one FAILED from the start.

        Returns the registered export.
        """
        with suppress(sa.exc.IntegrityError):  # another try of the same request was faster
            self._insert(new, refused)
        return self.get(new.job_id)

    def _insert(self, new: NewExport, refused: JobError | None) -> None:
        with self._database.write() as connection:
            known = sa.select(exports.c.export_id).where(exports.c.export_id == new.job_id)
            if connection.execute(known).first() is not None:
                return
            values = {
                "export_id": new.job_id,
                "tenant": new.tenant[:255],
                "audience": new.audience[:255],
                "audience_id": new.audience_id,
                "request": dict(new.request),
                "held": [lease.as_record() for lease in new.leases],
                "snapshot": new.snapshot,
                "execution": new.execution,
                "retry_of": new.retry_of,
            }
            first = REGISTERED if new.snapshot is None else AWAITING
            EXPORT_TABLE.register(connection, values, now_ms=new.created_at_ms, refused=refused, first=first)

    def awaiting(self) -> list[Export]:
        """Exports that wait for a snapshot, oldest first."""
        return self._select(exports.c.state == AWAITING)

    def plan(self, export_id: JobId, groups: Sequence[tuple[int, int]]) -> None:
        """Store the groups as (bytes, expected rows), once."""
        with self._database.write() as connection:
            self._locked(connection, export_id)
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
        """Begin an attempt to write a group; returns its number, from 1."""
        key = (export_groups.c.export_id == export_id) & (export_groups.c.number == number)
        with self._database.write() as connection:
            connection.execute(
                export_groups.update().where(key).values(attempt=export_groups.c.attempt + 1, rows=0, beat_at_ms=now_ms)
            )
            return int(connection.execute(sa.select(export_groups.c.attempt).where(key)).scalar_one())

    def set_group(self, export_id: JobId, number: int, **values: Any) -> None:
        """Set columns of a group: rows and beat_at_ms while it is being written, record or error at its end."""
        key = (export_groups.c.export_id == export_id) & (export_groups.c.number == number)
        with self._database.write() as connection:
            connection.execute(export_groups.update().where(key).values(**values))

    def groups(self, export_id: JobId) -> list[ExportGroup]:
        """All groups, ordered by number. Empty before the plan."""
        query = sa.select(export_groups).where(export_groups.c.export_id == export_id).order_by(export_groups.c.number)
        with self._database.read() as connection:
            return [
                from_row(ExportGroup, row, error=JobError.stored(row["error"]))
                for row in connection.execute(query).mappings()
            ]

    def to_sweep(self, now_ms: int, *, after_ms: int, again_after_ms: int) -> list[Export]:
        """Exports that ended `after_ms` ago and were never swept, or `again_after_ms` ago and were not swept since."""
        swept, finished = exports.c.swept_at_ms, exports.c.finished_at_ms
        never = swept.is_(None) & (finished < now_ms - after_ms)
        again = (finished < now_ms - again_after_ms) & (swept < finished + again_after_ms)
        return self._select(exports.c.state.in_(ENDED), never | again)

    def last_delivered(
        self,
        audience_id: JobId,
        *,
        schedule_id: JobId | None = None,
        to: str | None = None,
        profile: str | None = None,
        version: int | None = None,
    ) -> Export | None:
        """The newest READY export of an audience: of a schedule, or to the destination of `to`; of a version, if given.

        Of a schedule, that of the highest version: an older one is a late retry. A topic is a destination; so is the
        folder above a prefix, as each export has a prefix of its own.
        """
        request = exports.c.request
        where = [exports.c.audience_id == audience_id, exports.c.state == "READY"]
        if schedule_id is not None:
            where.append(request["schedule"].as_string() == schedule_id)
        if to is not None:
            where.append(request["to"].as_string().startswith(_destination(to), autoescape=True))
        found = self._select(*where, order_by=exports.c.export_id.desc())
        if schedule_id is not None:
            found.sort(key=lambda export: int((export.outcome or {}).get("version", 0)), reverse=True)
        for export in found:
            made = export.request
            fits = to is None or (_destination(str(made["to"])), made.get("profile")) == (_destination(to), profile)
            if fits and (version is None or made["version"] == version):
                return export
        return None

    def unnotified(self, *, finished_before_ms: int, finished_after_ms: int, limit: int = 50) -> list[Export]:
        """READY or FAILED exports without any notification."""
        notified = sa.select(notifications.c.subject).where(notifications.c.subject == exports.c.export_id).exists()
        return self._select(
            exports.c.state.in_(("READY", "FAILED")),
            exports.c.finished_at_ms.between(finished_after_ms, finished_before_ms),
            ~notified,
            limit=limit,
        )

    def history(self, export_id: JobId) -> list[ExportTransition]:
        """All state changes, in order."""
        t = export_transitions.c
        query = sa.select(t.state, t.cause, t.at_ms).where(t.export_id == export_id).order_by(t.sequence)
        with self._database.read() as connection:
            return [ExportTransition(**row) for row in connection.execute(query).mappings()]

    @staticmethod
    def _unknown(job_id: JobId) -> UserError:
        return UserError(
            "UNKNOWN_EXPORT",
            f"export {job_id} does not exist; `muster jobs list --kind export` shows all exports",
            export=job_id,
        )

    @staticmethod
    def _record(row: Mapping[Any, Any]) -> Export:
        return from_row(
            Export,
            row,
            job_id=row["export_id"],
            leases=tuple(Lease.from_record(record) for record in row["held"]),
            error=JobError.stored(row["error"]),
        )


def _destination(to: str) -> str:
    """A topic, or the folder above a prefix."""
    return f"{to.rstrip('/').rpartition('/')[0]}/" if to.startswith("s3://") else to
