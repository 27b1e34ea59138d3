"""`muster up`, `down`, `status`, `doctor` and `worker`."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from orchestration.cli import remote
from orchestration.cli.admin.contexts import catalog_context, plain_context
from orchestration.cli.commands import Answer, Done, Group, command, nothing, show_done
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import counted, duration, safe, text_time, time_ms
from orchestration.cli.rendering import waiting_text
from orchestration.cli.session import settings
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError
from schemas.ids import DEFAULT_TENANT
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.local.status import PartStatus, StackStatus
    from orchestration.operations.doctor import Diagnosis
    from orchestration.platform.settings import Settings
    from orchestration.records.workers import ScaledPart, WaitingJobs, Worker

with deferred(__name__):
    from muster import access, client
    from orchestration.catalog import audiences, engine
    from orchestration.composition import administration
    from orchestration.local import doctor as local_doctor
    from orchestration.local import stack
    from orchestration.operations import availability, scaling, workers
    from orchestration.operations import doctor as deployment_doctor

TOP = Group("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A ready stack, and its settings. `console`: an address that works once; None if the service gave none."""

    stack: "StackStatus"
    settings: "Settings"
    console: str | None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data, without the address of the console, which would let its reader in."""
        return self.stack.as_record()


def _show_started(ready: Started) -> None:
    found = ready.settings
    print_line(f"ready; everything is in {found.home}")
    if ready.console is not None:
        print_note(f"Open the console:   {ready.console} (once, within a minute; then: muster console)")
    print_note("Import a file:      muster import people.csv --audience vip --wait")
    print_note(f"Or upload it to:    s3://{found.inbox_bucket}/{found.inbox_prefix}default/vip/people.csv")
    print_note("Connect programs:   muster connect")


@command(TOP, "up", "muster up", "MUSTER_PORTS=free muster up", "muster up --on-demand", show=_show_started)
def up(
    *,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Choose free ports if none were chosen or one is taken.")
    ] = False,
    on_demand: Annotated[
        bool | None,
        typer.Option(
            "--on-demand/--always-on",
            help="Run workers and control plane only while there is work, or always. Default: as at the last start.",
            show_default=False,
        ),
    ] = None,
) -> Started:
    """Start the embedded stack and wait until it is ready.

    Kafka, S3, the workflow engine, the control plane, an import worker and a segment worker listen on loopback and keep
    their data below MUSTER_HOME (.muster).
    """
    ready = stack.up(settings(), free_ports=free_ports, on_demand=on_demand, report=_show_part)
    database = engine.Database(ready.catalog_url)
    audiences.AudienceStore(database).add_tenant(DEFAULT_TENANT, now_ms())
    database.close()
    return Started(stack=stack.status(ready), settings=ready, console=owner_console(ready))


def owner_console(ready: "Settings") -> str | None:
    """The owner's address for a browser; None if the service does not answer: the stack runs without it too."""
    try:
        with remote.translated(), client.Client(access.owner_access(ready.home, ready.api_url)) as found:
            return found.console_url()
    except (MusterError, OSError):
        return None


@command(TOP, "down", "muster down", show=show_done)
def down() -> Done:
    """Stop the embedded stack. Data stays."""
    stopped = stack.down(settings(), report=_show_part)
    return Done(record={"stopped": stopped}, text="stopped" if stopped else "nothing was running")


def _show_part(part: "PartStatus") -> None:
    line = f"{part.name:<16} {part.state}"
    print_note(line if part.error is None else f"{line}: {safe(part.error.get('message'))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """Parts of the stack and all workers. `workers`, `waiting`: None if Kafka or the catalog cannot be asked.

    `on_demand`: whether workers may be absent while there is no work; `scaled`: the counts that the work needs then.
    """

    stack: "StackStatus"
    workers: "Sequence[Worker] | None"
    waiting: "WaitingJobs | None"
    on_demand: bool
    scaled: "Sequence[ScaledPart]" = ()

    @property
    def starting(self) -> "list[tuple[str, str | None]]":
        """Workers that will run soon, each with the time since when: of the parts here, or as the catalog says."""
        if self.stack.running:
            return [(part.name, part.since) for part in self.stack.starting_workers]
        return [(one.part, one.given_at) for one in workers.starting(self.workers or (), self.scaled)]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        shown = None if self.workers is None else [as_record(one) for one in self.workers]
        waiting = None if self.waiting is None else as_record(self.waiting)
        scaled = [as_record(one) for one in self.scaled]
        more = {"workers": shown, "waiting": waiting, "on_demand": self.on_demand, "scaled": scaled}
        return {**self.stack.as_record(), **more}


def _show_status(found: DeploymentStatus) -> None:
    now = found.stack
    if not now.running:
        print_line(f"not running (home {now.home}); `muster up` starts it")
    else:
        print_table(
            ("PART", "STATE", "PID", "PORTS", "RESTARTS", "SINCE (UTC)"),
            [
                (p.name, p.state, p.pid or "", " ".join(map(str, p.ports[:3])), p.restarts, text_time(p.since))
                for p in now.parts
            ],
            right=("PID", "RESTARTS"),
        )
        for part in now.parts:
            if part.error is not None:
                print_line(f"{part.name}: {safe(part.error.get('message'))}")
    _show_workers(found)
    if found.waiting is not None:
        jobs = counted(found.waiting.jobs, "job")
        print_line(f"{jobs} {waiting_text(found.waiting.no_worker_s)}")


def _show_workers(found: DeploymentStatus) -> None:
    running = found.workers
    if running is None:
        return
    print_line("")
    for name, since in found.starting:
        print_line(f"{name}: starting" + (f" for {duration((now_ms() - time_ms(since)) / 1000)}" if since else ""))
    if not running:
        if not found.starting:
            print_line("no worker runs; starts with the next job" if found.on_demand else "no workers are running")
        return
    print_table(
        ("WORKER", "HOST", "PID", "PARTITIONS"),
        [(safe(w.worker), safe(w.host), w.pid or "", ranges(w.partitions) or "-") for w in running],
        right=("PID",),
    )


def ranges(numbers: Iterable[int]) -> str:
    """0, 1, 2, 5 -> 0-2, 5."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)


@command(TOP, "status", "muster status", "muster status --json", show=_show_status)
def status() -> Answer[DeploymentStatus]:
    """Show the parts of the embedded stack and all workers.

    Workers are listed wherever they run. Exit code 7 if the stack is not ready.
    """
    loaded = settings()
    now = stack.status(loaded)
    on_demand = not scaling.limits_of(loaded).fixed
    found = DeploymentStatus(
        stack=now,
        workers=_workers(loaded),
        waiting=_waiting(),
        on_demand=on_demand,
        scaled=_scaled() if on_demand else (),
    )
    return Answer(value=found, code=ExitCode.OK if now.ready else ExitCode.CHECK_FAILED)


def _workers(loaded: "Settings") -> "list[Worker] | None":
    """None if Kafka cannot be asked; the parts say why."""
    try:
        return workers.running_workers(loaded)
    except MusterError:
        return None


def _waiting() -> "WaitingJobs | None":
    """None also if the catalog cannot be read; the parts say why."""
    try:
        context = catalog_context()
        return workers.waiting_jobs(now_ms(), jobs=context.jobs, progress=context.progress)
    except MusterError:
        return None


def _scaled() -> "list[ScaledPart]":
    """Empty also if the catalog cannot be read; the parts say why."""
    try:
        return catalog_context().wanted_counts.parts()
    except MusterError:
        return []


def _show_diagnoses(found: "Sequence[Diagnosis]") -> None:
    for diagnosis in found:
        print_line(f"{diagnosis.severity:<6} {diagnosis.subject} {safe(diagnosis.text)}")


@command(
    TOP,
    "doctor",
    "muster doctor",
    show=_show_diagnoses,
    record=lambda found: [as_record(diagnosis) for diagnosis in found],
)
def doctor() -> "Answer[Sequence[Diagnosis]]":
    """Check every part, and say what is wrong and how to fix it.

    Exit code 7 if anything is wrong.
    """
    loaded, running = settings(), True
    found = [deployment_doctor.sandbox(loaded)]
    if loaded.engine_url:  # else the deployment is at AWS, which has neither home nor parts
        now = stack.status(loaded)
        found += local_doctor.stack(loaded, now)
        running = now.running
    if running:
        found += administration.service_checks(plain_context(loaded)).run()
    wrong = any(diagnosis.severity == "wrong" for diagnosis in found)
    return Answer(value=found, code=ExitCode.CHECK_FAILED if wrong else ExitCode.OK)


@command(TOP, "worker", "muster worker", "muster worker --segments", show=nothing, record=None)
def worker(
    *,
    segments: Annotated[
        bool, typer.Option("--segments", help="Run a segment worker instead of an import worker.")
    ] = False,
) -> NoReturn:
    """Run one worker in the foreground.

    Workers share the partitions; `muster status` lists them, wherever they run.
    SIGTERM or Ctrl-C stops it.
    """
    loaded = settings()
    availability.require_services(loaded, "Kafka", "object store")
    environment = {**os.environ, **loaded.environment(), "PYTHONUNBUFFERED": "1"}
    print_note("Starting a worker; Ctrl-C stops it.")
    sys.stdout.flush()
    sys.stderr.flush()
    module = "orchestration.entrypoints.segment_worker" if segments else "orchestration.entrypoints.worker"
    stack_workers = loaded.segment_workers if segments else loaded.workers
    first = stack_workers + 1 if stack.status(loaded).running else 1  # the stack's workers have the lower numbers
    arguments = ["-m", "orchestration.entrypoints.foreground", module, f"{first}+"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606  # no shell
