"""Follows an export on the screen until it has ended, and says how it ended."""

import time
from typing import TYPE_CHECKING

from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.exits import ExitCode, of_job
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.screen import screen
from orchestration.cli.session import SESSION
from schemas.ids import JobId

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.operations.export_jobs import ExportView


def wait_for_export(context: "Context", export_id: JobId, *, timeout_s: float | None = None) -> ExitCode:
    """Follow an export to its end, print how it ended, and return the exit code.

    Ctrl-C and `timeout_s` end the waiting, not the export.
    """
    from orchestration.operations.export_jobs import follow

    began = time.monotonic()
    last: ExportView | None = None

    def sleep(seconds: float) -> None:
        if timeout_s is not None and time.monotonic() - began >= timeout_s:
            raise TimeoutError
        time.sleep(seconds)

    try:
        with screen() as place:
            place.show([f"export {export_id}  waiting for the workflow"], f"export {export_id}: waiting")
            for last in follow(context, export_id, sleep=sleep):
                line = export_line(last, time.monotonic() - began)
                place.show([line], line)
    except KeyboardInterrupt:
        say(f"The export goes on; `muster exports wait {export_id}` waits again.")
        return ExitCode.INTERRUPTED
    except TimeoutError:
        say(f"Not finished after {timeout_s:g} s; the export goes on. `muster exports wait {export_id}` waits again.")
        return ExitCode.NOT_FINISHED
    if last is None:  # cannot be: `follow` ends with an export that has ended
        return ExitCode.SYSTEM_ERROR
    print_export_result(last)
    return of_job(last.export)


def export_line(view: "ExportView", elapsed_s: float) -> str:
    """How far an export is, on a line."""
    export = view.export
    line = f"export {export.job_id}  {export.state}"
    if view.groups:
        # Of a selection or a delta, the expected rows are a bound: in the end only those count that are there.
        of = "" if export.state == "READY" else f" of {number(view.expected_rows)}"
        line += f"  {number(view.rows)}{of} rows, {view.written} of {len(view.groups)} groups"
        if export.state == "WRITING" and elapsed_s > 1 and view.rows:
            line += f", {number(int(view.rows / elapsed_s))} rows/s"
    return line


def say_left_out(filtered: int, suppressed: int) -> None:
    """How many rows were read and not exported, if any."""
    if filtered or suppressed:
        say(f"Left out: {number(filtered)} rows that did not match, {number(suppressed)} of users who are suppressed.")


def print_export_result(view: "ExportView") -> None:
    """How an export ended."""
    from orchestration.operations.export_jobs import export_record

    export = view.export
    if SESSION.json:
        print_json(export_record(export))
    elif export.outcome is not None:
        outcome = export.outcome
        where = (
            f"{outcome['files']} files, {size(outcome['bytes'])}, in {outcome['manifest']}"
            if outcome["manifest"]
            else f"{number(outcome['chunks'])} chunks, {size(outcome['bytes'])}, in topic {outcome['topic']}"
        )
        what = f"version {outcome['version']} of {export.tenant}/{export.audience}"
        print_line(f"{what}: {number(outcome['rows'])} rows in {where}")
        if outcome.get("formulas_found"):
            say(f"{number(outcome['formulas_found'])} texts begin like a formula of a spreadsheet (--formulas).")
        if "rows_filtered" in outcome:
            say_left_out(outcome["rows_filtered"], outcome["rows_suppressed"])
    else:
        print_line(f"export {export.job_id} is {export.state}")
        if export.error is not None:
            print_line(f"{export.error.code}: {safe(export.error.message)}")
