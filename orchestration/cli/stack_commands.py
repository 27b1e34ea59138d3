"""`muster up`, `down`, `status`, `doctor` and `worker`."""

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_table, say
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe
from orchestration.cli.options import command
from orchestration.cli.session import SESSION, catalog_context, plain_context, settings

if TYPE_CHECKING:
    from orchestration.local.status import PartStatus
    from orchestration.operations.workers import RunningWorker, WaitingJobs
    from orchestration.platform.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "up", "muster up", "MUSTER_PORTS=free muster up")(up)
    command(app, "down", "muster down")(down)
    command(app, "status", "muster status", "muster status --json")(status)
    command(app, "doctor", "muster doctor")(doctor)
    command(app, "worker", "muster worker", "muster worker --segments")(worker)


def up(
    *,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Choose free ports, if none are chosen or one is taken.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Start the embedded stack and wait until it is ready.

    Kafka, S3, the workflow engine, the relay, a worker of imports and one of segments, all on loopback, all below
    MUSTER_HOME (.muster).
    """
    del json
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.engine import Database
    from orchestration.local import stack
    from orchestration.operations.submit import DEFAULT_TENANT
    from orchestration.platform.clock import now_ms

    ready = stack.up(settings(), free_ports=free_ports, report=_tell)
    database = Database(ready.catalog_url)
    AudienceStore(database).add_tenant(DEFAULT_TENANT, now_ms())
    database.close()
    if SESSION.json:
        print_json(stack.status(ready).as_record())
    else:
        print_line(f"ready; everything is in {ready.home}")
        say("Import a file:      muster import people.csv --audience vip --wait")
        say(f"Or upload it to:    s3://{ready.inbox_bucket}/{ready.inbox_prefix}default/vip/people.csv")
        say("Connect programs:   muster connect")


def down(*, json: options.Json = False) -> None:
    """Stop the embedded stack. Data stays."""
    del json
    from orchestration.local import stack

    stopped = stack.down(settings(), report=_tell)
    if SESSION.json:
        print_json({"stopped": stopped})
    else:
        print_line("stopped" if stopped else "nothing was running")


def status(*, json: options.Json = False) -> None:
    """Show the parts of the embedded stack, and all workers, wherever they run.

    Exit code 7 when the stack is not ready.
    """
    del json
    from orchestration.local import stack

    loaded = settings()
    now, workers, waiting = stack.status(loaded), _workers(loaded), _waiting()
    if SESSION.json:
        shown = None if workers is None else [one.as_record() for one in workers]
        print_json({**now.as_record(), "workers": shown, "waiting": None if waiting is None else asdict(waiting)})
    elif not now.running:
        print_line(f"not running (home {now.home}); `muster up` starts it")
    else:
        print_table(
            ("PART", "STATE", "PID", "PORTS", "RESTARTS", "SINCE"),
            [
                (p.name, p.state, p.pid or "", " ".join(map(str, p.ports[:3])), p.restarts, p.since[:19])
                for p in now.parts
            ],
            right=("PID", "RESTARTS"),
        )
        for part in now.parts:
            if part.error is not None:
                print_line(f"{part.name}: {safe(part.error.get('message'))}")
    if not SESSION.json:
        _print_workers(workers)
        if waiting is not None:
            from orchestration.cli.rendering import waiting_text

            jobs = f"{number(waiting.jobs)} {'job' if waiting.jobs == 1 else 'jobs'}"
            print_line(f"{jobs} {waiting_text(waiting.no_worker_s)}")
    if not now.ready:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _workers(loaded: "Settings") -> "list[RunningWorker] | None":
    """None where Kafka cannot be asked; the parts say why."""
    from orchestration.operations.workers import running_workers
    from schemas.errors import MusterError

    try:
        return running_workers(loaded)
    except MusterError:
        return None


def _waiting() -> "WaitingJobs | None":
    """None also where the catalog cannot be read; the parts say why."""
    from orchestration.operations.workers import waiting_jobs
    from orchestration.platform.clock import now_ms
    from schemas.errors import MusterError

    try:
        return waiting_jobs(catalog_context(), now_ms())
    except MusterError:
        return None


def _print_workers(workers: "list[RunningWorker] | None") -> None:
    from orchestration.operations.workers import ranges

    if workers is None:
        return
    print_line("")
    if not workers:
        print_line("no worker is in its group")
        return
    print_table(
        ("WORKER", "HOST", "PID", "PARTITIONS"),
        [(safe(w.worker), safe(w.host), w.pid or "", ranges(w.partitions) or "-") for w in workers],
        right=("PID",),
    )


def doctor(*, json: options.Json = False) -> None:
    """Say in words what is wrong, and what to do.

    Exit code 7 when something is.
    """
    del json
    from orchestration.operations.doctor import sandbox, services

    loaded, running = settings(), True
    found = [sandbox(loaded)]
    if loaded.engine_url:  # else the deployment is at AWS, where home and parts are nobody's
        from orchestration.local.doctor import stack as look
        from orchestration.local.stack import status as of_stack

        now = of_stack(loaded)
        found += look(loaded, now)
        running = now.running
    if running:
        found += services(plain_context(loaded))
    if SESSION.json:
        print_json([diagnosis.as_record() for diagnosis in found])
    else:
        for diagnosis in found:
            print_line(f"{diagnosis.severity:<6} {diagnosis.subject} {safe(diagnosis.text)}")
    if any(diagnosis.severity == "wrong" for diagnosis in found):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def worker(
    *, segments: Annotated[bool, typer.Option("--segments", help="One that evaluates segments, not imports.")] = False
) -> None:
    """Run one worker in the foreground.

    Several share the partitions; `muster status` lists them, wherever they run.
    SIGTERM or Ctrl-C ends it.
    """
    from orchestration.local import stack
    from orchestration.operations.availability import require_services

    loaded = settings()
    require_services(loaded, "Kafka", "object store")
    environment = {**os.environ, **loaded.environment(), "PYTHONUNBUFFERED": "1"}
    say("A worker starts; Ctrl-C ends it.")
    sys.stdout.flush()
    sys.stderr.flush()
    module = "orchestration.entrypoints.segment_worker" if segments else "orchestration.entrypoints.worker"
    of_stack = loaded.segment_workers if segments else loaded.workers
    first = of_stack + 1 if stack.status(loaded).running else 1  # the numbers before are those of the stack
    arguments = ["-m", "orchestration.entrypoints.foreground", module, f"{first}+"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606  # no shell


def _tell(part: "PartStatus") -> None:
    line = f"{part.name:<16} {part.state}"
    say(line if part.error is None else f"{line}: {safe(part.error.get('message'))}")
