"""Workers and control planes that come and go: the product's `Scaler`, store and `Watcher` on simulated servers.

Jobs, programs and schedules need them; they leave when idle, and arrivals are drawn to the moments at which they leave.
In most schedules everything works (`calm`), often without the watcher, so that the protocol alone must do. In others
processes die between any two calls, servers do not answer for minutes, lose replies, or do late what was asked.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from orchestration.catalog import tables
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.scaling import ScalingStore
from orchestration.operations.scaling import Scaler
from orchestration.operations.watching import Watcher
from schemas.errors import MusterError, RetriableError
from schemas.ids import JobId
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from segmentation.jobs import FINAL
from segmentation.scaling import Limits, Range, Scaled
from tests.contract.test_catalog import ACME, new_job
from tests.simulation.catalog import Catalog
from tests.simulation.kernel import Kernel, Killed, Process

STARTED_US: Final = 1_780_000_000_000_000
IDLE_S: Final = 60
LIMITS: Final = Limits(workers=Range(least=0, most=2), segment_workers=Range(least=0, most=2), idle_ms=IDLE_S * 1000)
BUSY_S: Final = 420
"""Work arrives for so long, and faults occur."""
REST_S: Final = 900
"""So long after that, all has been done, and everything is off."""
FOLLOW_S: Final = 10
MINUTE_S: Final = 60
SESSION_S: Final = 30
"""A killed process counts as a member for this time."""
START_S: Final = {True: (10.0, 15.0), False: (5.0, 45.0)}
"""Until a process serves, in calm schedules and in others."""
WAIT_S: Final = 150
"""The longest wait without a worker once ensuring works."""
CALM_WAIT_S: Final = 55
"""The same where nothing fails, for work that was announced: no guard is needed, only the protocol."""
PAUSE: Final = 0.1
"""The chance that a call takes seconds."""
MAX_STEPS: Final = 400_000
KEPT: Final = {"audience": Scaled.WORKER, "events": Scaled.SEGMENT_WORKER}


class ViolationError(AssertionError):
    """What may not happen."""


@dataclass(eq=False)
class Servers:
    """Calls to servers: each may be the last of its process, fail, or lose its reply."""

    kernel: Kernel
    luck: random.Random
    calm: bool
    faulty: bool = True
    down_until_us: dict[str, int] = field(default_factory=dict)
    latencies_s: dict[Process, float] = field(default_factory=dict)
    killed: Callable[[Process], None] = lambda _: None

    def call(self, server: str, act: Callable[[], Any]) -> Any:
        self.before(server, "", _unavailable)
        answer = act()
        self.after(server, "", _unavailable)
        return answer

    def before(self, server: str, _what: str, error: Callable[[str], Exception]) -> None:
        if self.kernel.task is None:
            return
        self._mishap()
        self.kernel.sleep(self.luck.uniform(0, self._latency_s()))
        if self.luck.random() < (PAUSE if self.kernel.process.kind == "function" else PAUSE / 4):
            self.kernel.sleep(self.luck.uniform(1, 6))  # the catalog pauses, or a process waits for its turn
        if self.faulty and not self.calm and self.kernel.now_us < self.down_until_us.get(server, 0):
            raise error(f"{server} does not answer")

    def _latency_s(self) -> float:
        """Some processes are slower than others, so that one acts within another's step."""
        return self.latencies_s.setdefault(self.kernel.process, self.luck.choice((0.02, 0.3, 1.0)))

    def after(self, server: str, _what: str, error: Callable[[str], Exception]) -> None:
        if self.kernel.task is None:
            return
        self._mishap()
        if self.faulty and not self.calm and self.luck.random() < 0.01:
            raise error(f"the reply of {server} is lost")

    def _mishap(self) -> None:
        process = self.kernel.process
        if process.dead:
            raise Killed
        if self.faulty and not self.calm and process.kind != "outside" and self.luck.random() < 0.02:
            self.killed(process)
            self.kernel.kill(process)


def _unavailable(text: str) -> RetriableError:
    return RetriableError("ENGINE_UNAVAILABLE", text)


@dataclass(eq=False)
class Member:
    """A process of a service. `serves`: it has started and was not asked to end."""

    part: Scaled
    process: Process
    serves: bool = False
    asked_to_end: bool = False
    member_until_us: int = 0


class World:
    """One schedule."""

    def __init__(self, seed: int, catalog: Catalog) -> None:
        self.luck = random.Random(f"scaling {seed}")
        self.calm = self.luck.random() < 0.6
        self.guarded = not self.calm or self.luck.random() < 0.3
        self.kernel = Kernel(seed, STARTED_US)
        self.catalog = catalog
        catalog.begin_faults(None)
        catalog.empty()
        AudienceStore(catalog).add_tenant(ACME, 1)
        self.servers = Servers(self.kernel, self.luck, self.calm, killed=self._killed)
        servers: Any = self.servers
        catalog.begin_faults(servers)
        self.jobs = JobStore(catalog)
        self.scaler = Scaler(ScalingStore(catalog), self, self, LIMITS)
        self.watcher = Watcher(
            workers=Seen(self, Scaled.WORKER),
            segment_workers=Seen(self, Scaled.SEGMENT_WORKER),
            relay=Seen(self, Scaled.RELAY),
            executions=self,
            scaler=self.scaler,
        )
        self.desired = dict.fromkeys(Scaled, 0)
        self.members: list[Member] = []
        self.lag = {Scaled.WORKER: 0, Scaled.SEGMENT_WORKER: 0}
        self.lag_since_us = dict.fromkeys(self.lag, 0)
        self.programs = dict.fromkeys(self.lag, False)
        self.states: dict[JobId, str] = {}
        self.executions = 0
        self.unannounced = False
        self.kinds: dict[JobId, str] = {}
        self.schedule_due_ms: int | None = None
        self.next_call_us: int | None = None
        self.works_since_us = STARTED_US
        self.waits: dict[object, int] = {}
        self.numbers = 0
        self.busy_until_us = STARTED_US + BUSY_S * 1_000_000
        for part in Scaled:
            self._outside(f"service {part}", partial(self._service, part))
        for name, run in {
            "watcher": self._watch_each_minute if self.guarded else self._nothing,
            "scheduled call": self._scheduled_call,
            "people": self._people,
            "programs": self._programs if self.guarded else self._nothing,
            "outages": self._outages,
        }.items():
            self._outside(name, run)

    @property
    def now_ms(self) -> int:
        return self.kernel.now_us // 1000

    @property
    def arrivals_go_on(self) -> bool:
        return self.kernel.now_us < self.busy_until_us

    def _outside(self, name: str, run: Callable[[], object]) -> None:
        self.kernel.spawn(self.kernel.outside, name, run)

    def _process(self, kind: str, run: Callable[[], object]) -> Process:
        self.numbers += 1
        process = Process(name=f"{kind} {self.numbers}", kind=kind)
        self.kernel.spawn(process, kind, run)
        return process

    def _killed(self, process: Process) -> None:
        if process.kind in {"ensure", "watch"}:
            self.works_since_us = self.kernel.now_us
        for member in self.members:
            if member.process is process:
                member.serves = False
                member.member_until_us = self.kernel.now_us + SESSION_S * 1_000_000

    # --- the ports of the product ------------------------------------------------------------------------------------

    def set_count(self, part: Scaled, count: int) -> None:
        """ECS. Late: the call fails, and has its effect afterwards."""
        if count == 0 and self.kernel.process.kind == "relay" and self._tempt(0.5):
            self.kernel.sleep(self.luck.uniform(0, 3))

        def act() -> None:
            self.desired[part] = count

        if not self.calm and self.servers.faulty and self.luck.random() < 0.02:
            self.kernel.later(self.luck.uniform(0, 20), act)
            raise _unavailable("no reply in time")
        self.servers.call("ECS", act)

    def set(self, at_ms: int, *, now_ms: int) -> None:
        """The scheduled call."""

        def act() -> None:
            if self.next_call_us is None or not now_ms * 1000 < self.next_call_us <= at_ms * 1000:
                self.next_call_us = at_ms * 1000

        self.servers.call("Scheduler", act)

    def any_running(self) -> bool:
        """Step Functions."""
        return bool(self.servers.call("Step Functions", lambda: self.executions > 0))

    # --- servers -----------------------------------------------------------------------------------------------------

    def _service(self, part: Scaled) -> None:
        while True:
            own = [m for m in self.members if m.part is part]
            for member in own:
                if member.process.dead and self.kernel.now_us >= member.member_until_us:
                    self.members.remove(member)
            living = [m for m in own if not m.process.dead and not m.asked_to_end]
            for _ in range(self.desired[part] - len(living)):
                self._start(part)
            for member in living[self.desired[part] :]:
                member.serves, member.asked_to_end = False, True
                self.kernel.later(30 if part is Scaled.RELAY else 0.5, partial(self._end, member))
            self.kernel.sleep(1.0)

    def _start(self, part: Scaled) -> None:
        member = Member(part=part, process=Process(name="", kind="outside"))
        self.members.append(member)

        def run() -> None:
            self.kernel.sleep(self.luck.uniform(*START_S[self.calm]))
            member.serves = not member.asked_to_end
            (self._relay if part is Scaled.RELAY else self._worker)(member)

        member.process = self._process("relay" if part is Scaled.RELAY else "worker", run)

    def _end(self, member: Member) -> None:
        self.kernel.kill(member.process)
        if member in self.members:
            self.members.remove(member)

    def serving(self, part: Scaled) -> bool:
        return any(member.serves and not member.process.dead for member in self.members if member.part is part)

    def _nothing(self) -> None:
        pass

    def _watch_each_minute(self) -> None:
        while True:
            self.kernel.sleep(MINUTE_S)
            self._process("watch", lambda: self._function(lambda: self.watcher.watch(self.now_ms)))

    def _scheduled_call(self) -> None:
        while True:
            self.kernel.sleep(1.0)
            if self.next_call_us is not None and self.kernel.now_us >= self.next_call_us:
                self.next_call_us = None
                self.kernel.later(0 if self.calm else self.luck.uniform(0, 30), self._called)

    def _called(self) -> None:
        self._process("ensure", lambda: self._function(lambda: self.scaler.renew(self.now_ms)))

    def _function(self, run: Callable[[], object]) -> None:
        try:
            run()
        except MusterError:
            self.works_since_us = self.kernel.now_us  # Lambda calls it again, as the next minute does

    def _outages(self) -> None:
        while self.arrivals_go_on and not self.calm:
            self.kernel.sleep(self.luck.uniform(30, 300))
            server = self.luck.choice(("ECS", "Scheduler", "catalog", "log"))
            lasts_us = int(self.luck.uniform(5, 240) * 1e6)
            self.servers.down_until_us[server] = self.kernel.now_us + lasts_us
            self.works_since_us = max(self.works_since_us, self.kernel.now_us + lasts_us)

    # --- processes that come and go ----------------------------------------------------------------------------------

    def _worker(self, member: Member) -> None:
        while member.serves:
            self.kernel.sleep(self.luck.uniform(0.5, 3.0))
            slowly = self.arrivals_go_on and self.programs[member.part]
            if self.lag[member.part] and (not slowly or self.luck.random() < 0.05):
                self._add(member.part, -1)

    def _add(self, part: Scaled, messages: int) -> None:
        if not self.lag[part]:
            self.lag_since_us[part] = self.kernel.now_us
        self.lag[part] += messages
        self.programs[part] = self.programs[part] and self.lag[part] > 0

    def _relay(self, member: Member) -> None:
        self.kernel.spawn(member.process, "jobs", lambda: self._answer_jobs(member))
        while not member.asked_to_end:
            with suppress(MusterError):
                self._tempt(0.05 if all(state in FINAL for state in self.states.values()) else 0)
                lags = {part: int(self.servers.call("log", partial(self.lag.get, part))) for part in self.lag}
                looked_us = self.kernel.now_us
                self._follow(lags, looked_us)
            self.kernel.sleep(FOLLOW_S)
        self._end(member)

    def _follow(self, lags: dict[Scaled, int], looked_us: int) -> None:
        before = dict(self.desired)
        self.scaler.follow(lag=lags[Scaled.WORKER], activity_lag=lags[Scaled.SEGMENT_WORKER], now_ms=looked_us // 1000)
        for part, lag in lags.items():
            kept = lag > 0 and self.lag[part] > 0 and self.lag_since_us[part] < looked_us
            if kept and before[part] and not self.desired[part] and self.calm:
                raise ViolationError(f"{part} was stopped with a lag of {lag}")

    def _answer_jobs(self, member: Member) -> None:
        while True:
            self.kernel.sleep(self.luck.uniform(0.5, 2.0))
            if not member.serves:
                continue
            for job, state in list(self.states.items()):
                part = KEPT["audience" if self.kinds[job] == "audience" else "events"]
                if state == "REGISTERED":
                    self._move(job, "VERIFYING")
                elif state == "AWAITING" and not self.lag[part]:
                    self._move(job, "PUBLISHING")
            if self.schedule_due_ms is not None and self.now_ms >= self.schedule_due_ms:
                self._quietly(self._serve_schedules)
            if self.unannounced:
                self._quietly(self._announce)

    def _quietly(self, act: Callable[[], None]) -> None:
        with suppress(MusterError):
            act()

    def _announce(self) -> None:
        with self.catalog.write() as connection:
            connection.execute(tables.transitions.update().values(announced=True))
        self.unannounced = False

    def _serve_schedules(self) -> None:
        due = (tables.schedules.c.next_due_ms <= self.now_ms) & tables.schedules.c.enabled.is_(True)
        with self.catalog.write() as connection:
            if connection.execute(tables.schedules.update().where(due).values(enabled=False)).rowcount:
                self.schedule_due_ms = None
                self._arrive()

    def _move(self, job: JobId, state: str) -> None:
        """A commit; what fails is tried again."""
        self._quietly(lambda: self._commit_state(job, state))

    def _commit_state(self, job: JobId, state: str) -> None:
        with self.catalog.write() as connection:
            connection.execute(tables.jobs.update().where(tables.jobs.c.job_id == job).values(state=state))
        self.states[job] = state

    # --- work --------------------------------------------------------------------------------------------------------

    def _tempt(self, chance: float) -> bool:
        """Let a file arrive while somebody leaves. Returns whether one will."""
        tempted = self.arrivals_go_on and self.luck.random() < chance
        if tempted:
            self.kernel.later(self.luck.uniform(0, 0.8), self._arrive)
        return tempted

    def _people(self) -> None:
        self._write_schedule()
        while self.arrivals_go_on:
            self._arrive()
            gaps = ((0, 20), (IDLE_S - 10, IDLE_S + 40), (2 * IDLE_S, 4 * IDLE_S), (2 * IDLE_S, 3 * IDLE_S))
            self.kernel.sleep(self.luck.uniform(*self.luck.choice(gaps)))
            if self.luck.random() < 0.3 and self.arrivals_go_on:
                self._write_schedule()

    def _write_schedule(self) -> None:
        """Create the schedule, or edit it, and ensure; the service retries what fails."""
        due_ms = self.now_ms + int(self.luck.uniform(5, 5 * IDLE_S) * 1000)
        values = {"tenant": ACME, "name": "n", "kind": "import", "expression": "rate(1 day)", "timezone": "UTC"}
        row = {**values, "request": {}, "enabled": True, "created_at_ms": 1, "next_due_ms": due_ms}
        while True:
            try:
                with self.catalog.write() as connection:
                    connection.execute(tables.schedules.delete())
                    connection.execute(tables.schedules.insert().values(schedule_id="s", **row))
                break
            except MusterError:
                self.kernel.sleep(1.0)
        self.schedule_due_ms = due_ms
        self.scaler.ensure(self.now_ms)

    def _programs(self) -> None:
        """Programs send messages that nobody announces; now and then so many that they outlast the idle time.

        They do not outlast the rest of the schedule, in which all jobs end.
        """
        while self.arrivals_go_on:
            self.kernel.sleep(self.luck.uniform(60, 300))
            part = self.luck.choice((Scaled.WORKER, Scaled.SEGMENT_WORKER))
            many = self.luck.random() < 0.5
            self._add(part, 5 if many else 1)
            self.programs[part] = many

    def _arrive(self) -> None:
        """A file: an execution, whose steps are tried again until they succeed."""
        self.executions += 1
        self.numbers += 1
        number, kind = self.numbers, self.luck.choice(tuple(KEPT))
        self._outside(f"execution {number}", lambda: self._execute(number, kind))

    def _step(self, kind: str, run: Callable[[], object]) -> None:
        """A function: tried again until it returns."""
        done: list[bool] = []

        def body() -> None:
            run()
            done.append(True)

        def attempt() -> None:
            self._quietly(body)

        while not done:
            process = self._process(kind, attempt)
            while process.tasks:
                self.kernel.sleep(0.5)
            if not done:
                self.kernel.sleep(self.luck.uniform(0, 4))

    def _execute(self, number: int, kind: str) -> None:
        spec = ImportSpec() if kind == "audience" else activity_spec("events", {})
        new = replace(new_job(number % 10_000, str(number).rjust(64, "k")), spec=spec)
        job = new.job_id

        def register() -> None:
            self.unannounced = True
            self.jobs.register(new)
            self.unannounced = True
            self.kinds[job] = kind
            self.states.setdefault(job, "REGISTERED")
            self.scaler.ensure(self.now_ms)

        self._step("function", register)
        self._until(job, "VERIFYING")
        self._step("function", lambda: self._commit_state(job, "IMPORTING"))
        self.kernel.sleep(self.luck.uniform(0.5, 20))
        self._add(KEPT[kind], 2)
        self._step("function", lambda: self._commit_state(job, "AWAITING"))
        self._until(job, "PUBLISHING")
        self._step("function", lambda: self._commit_state(job, "READY"))
        self.executions -= 1

    def _until(self, job: JobId, state: str) -> None:
        while self.states[job] != state:
            self.kernel.sleep(0.5)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def waiting(self) -> Iterator[tuple[str, Scaled, bool]]:
        """What waits for which part, and whether somebody has announced it."""
        for job, state in self.states.items():
            if state in {"REGISTERED", "AWAITING"}:
                yield job, Scaled.RELAY, True
        announced = {KEPT[self.kinds[job]] for job, state in self.states.items() if state == "AWAITING"}
        for part, lag in self.lag.items():
            if lag:
                yield f"messages of {part}", part, part in announced
        if self.schedule_due_ms is not None and self.now_ms >= self.schedule_due_ms:
            yield "schedule", Scaled.RELAY, False

    def check(self) -> None:
        """No wait is too long."""
        now, waits = self.kernel.now_us, dict[object, int]()
        for what, part, announced in self.waiting():
            if self.serving(part):
                continue
            key = (what, part, announced)
            waits[key] = self.waits.get(key, now)
            limit_s = CALM_WAIT_S if self.calm and announced else WAIT_S
            waited_s = (now - max(waits[key], self.works_since_us)) / 1e6
            if waited_s > limit_s:
                raise ViolationError(f"{what} has waited {waited_s:.0f} s for a {part} at {self.kernel.clock()}")
        self.waits = waits

    def run(self) -> None:
        """Raises `ViolationError`."""
        self._run_until(self.busy_until_us)
        self.servers.faulty = False
        self.works_since_us = max(self.works_since_us, self.kernel.now_us)
        self._run_until(self.busy_until_us + REST_S * 1_000_000)
        if unended := {job: state for job, state in self.states.items() if state not in FINAL}:
            raise ViolationError(f"{len(unended)} not ended: {sorted(set(unended.values()))}")
        if any(self.desired.values()) or self.members:
            raise ViolationError(f"still on: {self.desired}")

    def _run_until(self, end_us: int) -> None:
        checked_us = self.kernel.now_us

        def over() -> bool:
            nonlocal checked_us
            if self.kernel.now_us - checked_us > 1_000_000:
                checked_us = self.kernel.now_us
                self.check()
                if self.kernel.now_us > self.busy_until_us + MINUTE_S * 1_000_000 and self._at_rest():
                    return True
            return self.kernel.now_us >= end_us

        self.kernel.run(over, max_steps=MAX_STEPS)

    def _at_rest(self) -> bool:
        off = not any(self.desired.values()) and not self.members and not any(self.lag.values())
        return off and all(state in FINAL for state in self.states.values()) and self.schedule_due_ms is None

    def close(self) -> None:
        self.catalog.begin_faults(None)
        self.kernel.close()


@dataclass(frozen=True)
class Seen:
    """A consumer group as Kafka shows it to the watcher."""

    world: World
    part: Scaled

    def lag(self) -> int:
        return int(self.world.servers.call("log", lambda: self.world.lag.get(self.part, 0)))

    def members(self) -> int:
        def count() -> int:
            now = self.world.kernel.now_us
            own = [m for m in self.world.members if m.part is self.part]
            return sum(now < m.member_until_us if m.process.dead else m.serves for m in own)

        return int(self.world.servers.call("log", count))


@contextmanager
def simulating() -> Iterator[Callable[[int], str | None]]:
    """Runs schedules on one database: seed -> what was violated."""
    catalog = Catalog()

    def run(seed: int) -> str | None:
        world = World(seed, catalog)
        try:
            world.run()
        except ViolationError as exc:
            return f"seed {seed} ({'calm' if world.calm else 'faulty'}): {exc}"
        finally:
            world.close()
        return None

    yield run
