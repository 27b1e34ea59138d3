"""Output of `muster jobs list` and `muster jobs show` for jobs of all kinds, as the service answers them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muster.records import Record
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.following import settings_remedy
from orchestration.cli.formatting import age, clock_time, counted, number, size, text_time, time_ms, without_iso
from orchestration.cli.job_facts import origin_of
from orchestration.cli.rendering import done_word, partition_lines, places_line, stage_line, waiting_text
from schemas.job_kinds import id_of, key_of, kind_of, traits_of


def show_list(found: Sequence[Record]) -> None:
    """Print jobs, one per line."""
    if not found:
        print_note("No matching jobs.")
        return
    now = int(time.time() * 1000)
    exports = any(key_of(job) == "export" for job in found)
    print_table(
        ("JOB", "AGE", "KIND", "STATE", "AUDIENCE", "RESULT", *(["TO"] if exports else [])),
        [(*_cells(job, now), *([_destination(job)] if exports else [])) for job in found],
        right=("AGE",),
    )


def _cells(job: Record, now_ms: int) -> tuple[str, ...]:
    since = age(time_ms(job["created_at"]), now_ms)
    return id_of(job), since, kind_of(job), job["state"], f"{job['tenant']}/{job['audience']}", result_of(job)


def _destination(job: Record) -> str:
    return str(job["request"].get("to", "")) if key_of(job) == "export" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A job; for a duplicate, its original. `requested`: the id that was given."""

    requested: str
    job: Record

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dict(self.job)


def show_job(found: Shown) -> None:
    """Print everything known about a job."""
    job = found.job
    if job.get("duplicate_of") is not None:
        print_note(f"Job {found.requested} is a duplicate of {job['job']}, which is shown here.")
    if key_of(job) == "export":
        _show_export(job)
    else:
        _show_import(job)
    _show_notifications(job["notifications"])


def _show_import(job: Record) -> None:
    of_audience = traits_of(job).of_audience
    pairs: list[tuple[str, object]] = [
        ("job", job["job"]),
        ("audience", f"{job['tenant']}/{job['audience']}") if of_audience else (job["kind"], f"of {job['tenant']}"),
        ("state", _state(job)),
        ("mode", job["mode"]),
        ("source", origin_of(job)),
        ("rows", _rows(job)),
        ("result", result_of(job) or "-"),
    ]
    if ran := places_line(job["stages"]):
        pairs.append(("ran", ran))
    if (error := job["error"]) is not None:
        pairs.append(("error", f"{error['code']}: {error['message']}"))
    if (remedy := settings_remedy(job)) is not None:
        pairs.append(("settings", remedy))
    if job["retry_of"] is not None:
        pairs.append(("retry of", job["retry_of"]))
    print_pairs(pairs)
    print_line("")
    print_table(
        ("AT (UTC)", "STATE", "ATTEMPT", "CAUSE"),
        [(text_time(t["at"]), t["state"], t["attempt"] or "", without_iso(t["cause"] or "")) for t in job["history"]],
        right=("ATTEMPT",),
    )
    print_line("")
    for line in [*map(stage_line, job["stages"]), *partition_lines(job["partition_progress"], done_word(job))]:
        print_line(line)


def _show_export(export: Record) -> None:
    outcome, error, groups = export["outcome"], export["error"], export["groups"]
    pairs: list[tuple[str, object]] = [
        ("export", export["export"]),
        ("audience", f"{export['tenant']}/{export['audience']}"),
        ("state", export["state"]),
        ("to", export["request"].get("to", "")),
        ("result", result_of(export) or "-"),
    ]
    if outcome is not None and outcome["manifest"]:
        pairs.append(("manifest", outcome["manifest"]))
    if error is not None:
        pairs.append(("error", f"{error['code']}: {error['message']}"))
    if export["retry_of"] is not None:
        pairs.append(("retry of", export["retry_of"]))
    print_pairs(pairs)
    print_line("")
    print_table(
        ("AT (UTC)", "STATE", "CAUSE"),
        [(clock_time(t["at_ms"]), t["state"], without_iso(t["cause"] or "")) for t in export["history"]],
    )
    if groups:
        print_line("")
        print_table(
            ("GROUP", "ATTEMPT", "ROWS", "OF", "STATE"),
            [
                (
                    g["number"],
                    g["attempt"] or "",
                    number(g["rows"]),
                    number(g["expected_rows"]),
                    "written" if g["written"] else g["error"]["code"] if g["error"] is not None else "",
                )
                for g in groups
            ],
            right=("GROUP", "ATTEMPT", "ROWS", "OF"),
        )


def _show_notifications(notices: Sequence[Record]) -> None:
    """All but the line in the log."""
    shown = [notice for notice in notices if notice["channel"] != "log"]
    if not shown:
        return
    print_line("")
    print_table(
        ("OUTCOME", "TO", "STATE", "TRIES", "LAST ERROR"),
        [
            (n["outcome"], n["recipient"] or n["channel"], n["state"], n["attempts"], n["last_error"] or "")
            for n in shown
        ],
        right=("TRIES",),
    )


def result_of(job: Record) -> str:
    """The result of a job in a few words; empty while it runs."""
    outcome = job["outcome"]
    if job["error"] is not None:
        return str(job["error"]["code"])
    if outcome is None:
        return ""
    if job["state"] == "SUPERSEDED":
        return f"by v{outcome['version']}"
    if "rows" in outcome:
        parts = [counted(outcome["rows"], "row")]
        if "version" in outcome:
            parts.insert(0, f"v{outcome['version']}")
        if "bytes" in outcome:
            parts.append(size(outcome["bytes"]))
        return ", ".join(parts)
    if "stored" in outcome:
        return f"{number(outcome['stored'])} stored, {number(outcome['duplicates'])} duplicates"
    return f"v{outcome['version']}, {counted(outcome['members'], 'member')}"


def _state(job: Record) -> str:
    text = job["state"] if job["attempt"] < 2 else f"{job['state']}, attempt {job['attempt']}"
    return f"{text}, {warning}" if (warning := waiting_text(job["no_worker_s"])) else str(text)


def _rows(job: Record) -> str:
    if (counts := job["evidence"]) is None:
        return "-"
    rows, accepted, rejected = (number(counts[name]) for name in ("rows", "accepted", "rejected"))
    return f"{rows} = {accepted} accepted + {rejected} rejected"
