"""What people and other systems do: upload, upload again, cancel, retry, roll back, stop executions."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from orchestration.catalog.tables import audiences, jobs
from orchestration.operations.audiences import find, rollback
from schemas.errors import MusterError
from schemas.ids import JobId
from segmentation.jobs import FINAL
from tests.simulation.kernel import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

USERS: Final = tuple(f"u{n}" for n in range(12))
AUDIENCES: Final = ("vip", "vip", "vip", "vip", "new")
SOON_S: Final = (0.0, 60.0)


class People:
    """Draws a plan from the seed. Its parts are tasks outside of all processes that can die."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.random = world.faults.random
        self._busy = 0
        uploads = self.random.choice((1, 2, 2, 3))
        for number in range(uploads):
            self._do(f"upload {number}", lambda number=number: self._upload(number))  # type: ignore[misc]
        for kind, act in (
            ("cancel", self._cancel),
            ("rollback", self._rollback),
            ("execution stopped", self._stop),
            ("rollback", self._rollback),
        ):
            if world.faults.strike(kind):
                self._do(kind, act)

    @property
    def done(self) -> bool:
        """True if the plan has been carried out."""
        return self._busy == 0

    def _do(self, name: str, act: Callable[[], None]) -> None:
        process = Process(name=name, kind="people")
        self._busy += 1
        first_s = self.random.uniform(*SOON_S)

        def run() -> None:
            try:
                self.world.kernel.sleep(first_s)
                act()
            finally:
                self._busy -= 1

        self.world.kernel.spawn(process, name, run)

    # --- files -------------------------------------------------------------------------------------------------------

    def _upload(self, number: int) -> None:
        audience = self.random.choice(AUDIENCES)
        key = f"acme/{audience}/{self.random.choice(('a', 'b'))}{number}.csv"
        mode = self.random.choice(("replace", "replace", "append", "remove"))
        self._put(key, mode)
        if self.world.faults.strike("object overwritten"):
            self.world.kernel.sleep(self.random.uniform(0.5, 30))
            self._put(key, mode)

    def _put(self, key: str, mode: str) -> None:
        users = tuple(self.random.choices(USERS, k=self.random.choice((1, 3, 6, 9, 14))))
        version = self.world.uploaded(key, users)
        self.world.faults.say and self.world.faults.say(f"upload of {key} {version}: {mode} {' '.join(users)}")
        request = {
            "tenant": "acme",
            "audience": key.split("/")[1],
            "bucket": "inbox",
            "key": key,
            "version_id": version,
            "overrides": {"mode": mode, "max_shrink_percent": None},
        }
        for _ in range(2 if self.world.faults.strike("event delivered twice") else 1):
            name = self.world.fresh_id()
            self._start(name, {"import": {**request, "job_id": name}})
        if len(self._live(key.split("/")[1])) > 1:
            self.world.faults.saw("competing imports of one audience")

    def _start(self, name: JobId, given: dict[str, Any]) -> None:
        arn = self.world.context.engine.execution_arn(name)
        self.world.engine.start(arn, json.dumps(given))

    # --- operators ---------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if (victim := self._some_job()) is None:
            return
        self.world.asked_to_end.add(victim)
        self._try(lambda: self.world.context.import_jobs.cancel(victim))
        if self.world.faults.strike("retry"):
            self.world.kernel.sleep(self.random.uniform(0, 60))
            self._try(lambda: self._retry(victim))

    def _retry(self, victim: JobId) -> None:
        context = self.world.context
        context.submission.resubmit(context.jobs.get(victim), force=True)

    def _stop(self) -> None:
        if (victim := self._some_job()) is None:
            return
        self.world.asked_to_end.add(victim)
        for execution in list(self.world.engine.executions.values()):
            if victim in execution.arn:
                self.world.engine.stop(execution, "stopped by hand")

    def _rollback(self) -> None:
        for _ in range(30):
            if any(table.history.versions for table in self.world.lake.tables.values()):
                break
            self.world.kernel.sleep(20)
        else:
            return
        with self.world.catalog.look() as connection:
            names = [row.name for row in connection.execute(sa.select(audiences.c.name).order_by(audiences.c.name))]
        name = self.random.choice(names)

        def act() -> None:
            asked = str(self.world.kernel.now_us // 1000)  # each try asks again
            context = self.world.context
            audience = find(context.audiences, "acme", name)
            number = self.random.randint(1, 3)
            rollback(context.versions, audience, number, reason=asked)
            self.world.oracle.rollbacks.add(asked)

        self._try(act)

    def _some_job(self) -> JobId | None:
        for _ in range(10):
            if live := self._live(None):
                return self.random.choice(live)
            self.world.kernel.sleep(10)
        return None

    def _live(self, audience: str | None) -> list[JobId]:
        query = sa.select(jobs.c.job_id).where(jobs.c.state.not_in(FINAL)).order_by(jobs.c.job_id)
        if audience is not None:
            query = query.where(jobs.c.audience == audience)
        with self.world.catalog.look() as connection:
            return [JobId(row.job_id) for row in connection.execute(query)]

    def _try(self, act: Callable[[], object]) -> None:
        """People give up on what was refused, or is not known to have worked."""
        try:
            act()
        except MusterError as exc:
            if self.world.faults.say is not None:
                self.world.faults.say(f"refused: {exc}")
