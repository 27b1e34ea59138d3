"""Deterministic concurrency: tasks as greenlets, virtual time, and one seeded choice of the next task.

The product's blocking code runs unchanged. When it calls one of our ports, the port pauses its task, and the kernel
picks any task that can run. Nothing else switches tasks, so a seed always gives the same history. When no task can run,
time jumps to the next timer.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")
STEP_US: Final = 5_000
"""Duration of one step, in virtual microseconds."""


class Killed(BaseException):
    """Thrown into every task of a killed process. A BaseException, so that product code does not catch it."""


class StuckError(AssertionError):
    """The history does not end: no task can run, or the steps are used up."""


@dataclass(eq=False)
class Process:
    """What lives and dies together. A frozen one (SIGSTOP, a long pause) is not scheduled until `frozen_until_us`."""

    name: str
    kind: str
    skew_ms: int = 0
    dead: bool = False
    frozen_until_us: int = 0
    tasks: dict["Task", None] = field(default_factory=dict)  # in order of their start, which a set would lose


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, name: str, run: Callable[[], object], kernel: "Kernel") -> None:
        self.process = process
        self.name = name
        self.timed_out = False
        self.timer = 0  # the timer that counts; earlier ones are void
        self._run = run
        self._kernel = kernel
        self.greenlet = greenlet(self._body, kernel.hub)

    def _body(self) -> None:
        try:
            self._run()
        except Killed:
            pass
        finally:
            self.process.tasks.pop(self, None)


class Signal:
    """What tasks wait for. Once set, it stays set until cleared."""

    def __init__(self) -> None:
        self.is_set = False
        self.waiting: list[Task] = []


class Kernel:
    """Schedules tasks. All methods but `run` and `spawn` are called from tasks."""

    def __init__(self, seed: int, started_us: int) -> None:
        self.random: Final = random.Random(f"schedule {seed}")
        self.now_us = started_us
        self.steps = 0
        self.hub = getcurrent()
        self.trace: Callable[[str], None] | None = None
        self.outside = Process(name="outside", kind="outside")
        self._ready: list[Task] = []
        self._timers: list[tuple[int, int, int, Task | Callable[[], object]]] = []
        self._numbers = count()
        self._tasks: dict[greenlet, Task] = {}
        self.error: BaseException | None = None

    # --- from outside ------------------------------------------------------------------------------------------------

    def spawn(self, process: Process, name: str, run: Callable[[], object]) -> Task:
        """Create a task, which begins some time later."""
        task = Task(process, name, run, self)
        process.tasks[task] = None
        self._tasks[task.greenlet] = task
        self._ready.append(task)
        return task

    def run(self, until: Callable[[], bool], *, max_steps: int) -> None:
        """Run tasks until the condition holds. Raises `StuckError`, and whatever a task or an invariant raises."""
        self.hub = getcurrent()
        last = self.steps + max_steps
        while not until():
            if self.steps >= last:
                raise StuckError(f"not over after {max_steps} steps, at {self.clock()}")
            self._step()
            if self.error is not None:
                raise self.error

    def processes(self) -> set[Process]:
        """Processes that have a task."""
        return {task.process for task in self._tasks.values()}

    def close(self) -> None:
        """Kill everything, so that nothing of this history outlives it."""
        self.hub = getcurrent()
        for task in list(self._tasks.values()):
            self.kill(task.process)
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()

    # --- from tasks --------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        """The running task. None outside of tasks."""
        return self._tasks.get(getcurrent())

    @property
    def process(self) -> Process:
        """The process of the running task."""
        task = self.task
        return self.outside if task is None else task.process

    def pause(self) -> None:
        """Let other tasks run. Raises `Killed` if the process was killed meanwhile."""
        if (task := self.task) is None:
            return
        self._check(task)
        self._ready.append(task)
        self._switch(task)

    def sleep(self, seconds: float) -> None:
        """Continue after a number of virtual seconds."""
        self.wait(Signal(), seconds)

    def wait(self, signal: Signal, timeout_s: float | None = None) -> bool:
        """Wait until the signal is set or the time is over. True if the signal is set."""
        if (task := self.task) is None:
            return signal.is_set
        self._check(task)
        if signal.is_set:
            self.pause()
            return True
        task.timed_out = False
        task.timer = number = next(self._numbers)
        signal.waiting.append(task)
        if timeout_s is not None:
            heapq.heappush(self._timers, (self.now_us + int(timeout_s * 1e6), number, number, task))
        self._switch(task)
        if task in signal.waiting:
            signal.waiting.remove(task)
        return signal.is_set

    def set(self, signal: Signal) -> None:
        """Wake every task that waits."""
        signal.is_set = True
        waiting, signal.waiting = signal.waiting, []
        for task in waiting:
            task.timer = -1
            self._ready.append(task)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something after a number of virtual seconds, outside of all tasks."""
        heapq.heappush(self._timers, (self.now_us + int(seconds * 1e6), next(self._numbers), 0, call))

    def kill(self, process: Process) -> None:
        """SIGKILL: none of its code runs any more, except for Python's unwinding, in which all port calls fail."""
        process.dead = True
        current = self.task
        for task in list(process.tasks):
            if task is current or task.greenlet.dead:
                continue
            self._tasks.pop(task.greenlet, None)
            task.timer = -1
            if task in self._ready:
                self._ready.remove(task)
            if task.greenlet:  # has begun
                task.greenlet.parent = getcurrent()
                task.greenlet.throw(Killed())
            process.tasks.pop(task, None)
        if current is not None and current.process is process:
            raise Killed

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP now, and SIGCONT after a number of virtual seconds."""
        process.frozen_until_us = self.now_us + int(seconds * 1e6)
        if self.process is process:
            self.pause()

    def clock(self) -> str:
        """The virtual time since the beginning, for people."""
        return f"{self.now_us / 1e6 % 1e6:12.3f} s"

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check(self, task: Task) -> None:
        if task.process.dead:
            raise Killed

    def _switch(self, task: Task) -> None:
        self.hub.switch()
        self._check(task)

    def _step(self) -> None:
        self.steps += 1
        self.now_us += STEP_US
        while self._timers and self._timers[0][0] <= self.now_us:
            self._fire()
        while not self._ready:
            if not self._timers:
                raise StuckError("no task can run, and none waits for a time")
            self.now_us = max(self.now_us, self._timers[0][0])
            self._fire()
        task = self._ready.pop(int(self.random.random() * len(self._ready)))
        if task.process.frozen_until_us > self.now_us:
            number = next(self._numbers)
            task.timer = number
            heapq.heappush(self._timers, (task.process.frozen_until_us, number, number, task))
            return
        task.greenlet.parent = self.hub
        try:
            task.greenlet.switch()
        finally:
            if task.greenlet.dead:
                self._tasks.pop(task.greenlet, None)

    def _fire(self) -> None:
        _, _, number, what = heapq.heappop(self._timers)
        if isinstance(what, Task):
            if what.timer == number and not what.greenlet.dead:
                what.timed_out = True
                self._ready.append(what)
        else:
            what()


def call_in(kernel: Kernel, process: Process, run: Callable[[], T], name: str) -> tuple[Signal, list[Any]]:
    """Run something in its own task. Returns a signal for its end, and [result] or [None, exception]."""
    done, outcome = Signal(), list[Any]()

    def body() -> None:
        try:
            outcome.append(run())
        except Exception as exc:  # noqa: BLE001  # it is the caller's
            outcome.extend((None, exc))
        kernel.set(done)

    kernel.spawn(process, name, body)
    return done, outcome
