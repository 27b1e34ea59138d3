"""Progress as text: a block for a terminal of 80 columns, and one line for a log. Pure.

Jobs, stages and partitions are records, as the service answers them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from muster.records import Record
from orchestration.cli.formatting import bar, counted, duration, number, percent, rate, safe, shorten, size
from orchestration.cli.job_facts import origin_of
from schemas.job_kinds import traits_of

COLUMNS: Final = 80
MAX_PARTITIONS: Final = 16
"""With more partitions, only the slowest are listed."""
SLOWEST: Final = 4
_PLACES: Final = {"function": "in a function", "task": "in a task", "machine": "on a machine"}
_MARKS: Final = {"materialised": "✓", "archived": "✓", "failed": "✗"}


def job_lines(job: Record) -> list[str]:
    """A running job: a heading, a line per stage, and its partitions."""
    position, attempt = job["queue_position"], job["attempt"]
    queued = "" if position is None else f", position {position} in the queue"
    where = f"{safe(job['tenant'])}/{safe(job['audience'])}, {job['mode']}, {safe(origin_of(job))}"
    lines = [
        f"job {job['job']}  {job['state']}" + (f", attempt {attempt}" if attempt > 1 else "") + queued,
        "  " + shorten(where, COLUMNS - 2),
    ]
    lines += [stage_line(stage) for stage in job["stages"]]
    if warning := waiting_text(job["no_worker_s"]):
        lines.append(f"  {warning}")
    return lines + partition_lines(job["partition_progress"], done_word(job))


def waiting_text(no_worker_s: float | None) -> str:
    """`waiting: no worker for 14 s`; empty while a worker has the partitions."""
    return "" if no_worker_s is None else f"waiting: no worker for {duration(no_worker_s)}"


def stage_line(stage: Record) -> str:
    """`  verify       ━━━━━━━━━━━━━━━━ 100 %  1,000,000 rows  52.1 MB/s  3 s left`."""
    name, state, done, total, left_s = (stage[key] for key in ("name", "state", "done", "total", "left_s"))
    if state == "waiting":
        return f"  {name:<11} {bar(0)}"
    if total <= 0:
        return f"  {name:<11} {bar(state == 'done')}  {state}"
    cells = [amount(stage)]
    if stage["rate"] is not None and stage["rate"] >= 1:
        cells.append(rate(stage["rate"], stage["unit"]))
    if state == "running" and left_s is not None and done < total:
        cells.append(f"{duration(left_s)} left")
    if state == "stopped":
        cells.append("stopped")
    return f"  {name:<11} {bar(done / total)} {percent(done, total)}  {'  '.join(cells)}"


def places_line(stages: Sequence[Record]) -> str:
    """`verify in a function, import in a task`: the stages that have begun and had a choice; may be empty."""
    return ", ".join(f"{s['name']} {_PLACES.get(s['place'], s['place'])}" for s in stages if s["place"])


def amount(stage: Record) -> str:
    """The amount done, in rows if they are counted."""
    rows, unit, done = stage["rows"], stage["unit"], stage["done"]
    if rows or unit == "rows":
        return counted(rows, "row")
    return size(done) if unit == "bytes" else f"{number(done)} {unit}"


def done_word(job: Record) -> str:
    """The final state of a job's partitions."""
    return "materialised" if traits_of(job).of_audience else "archived"


def partition_lines(partitions: Sequence[Record], word: str = "materialised") -> list[str]:
    """Partitions, one per line: how much was sent, how much the workers have taken, how fast, and how much waits."""
    if not partitions:
        return []
    done = sum(1 for p in partitions if p["state"] == word)
    title = f"  partitions  {done} of {len(partitions)} {word}"
    if len(partitions) <= MAX_PARTITIONS:
        return [title, *map(partition_line, partitions)]
    slowest = slowest_of(partitions)
    return [title + (f"; the slowest {len(slowest)}" if slowest else ""), *map(partition_line, slowest)]


def partition_line(partition: Record) -> str:
    """`     0 → sent 100 %  taken  62 %  1,234,567  12.3 k rows/s  3 s left  lag 12`."""
    cells = [
        f"  {partition['partition']:>4} {_mark(partition)} sent {percent(partition['sent'], partition['expected'])}",
        f"taken {percent(partition['taken'], partition['expected'])}",
        number(partition["taken"]),
        *_pace(partition),
    ]
    return "  ".join(cells)


def slowest_of(partitions: Sequence[Record]) -> list[Record]:
    """The partitions that will be materialised last, slowest first."""
    waiting = [p for p in partitions if p["state"] is None and p["taken"] < p["expected"]]
    return sorted(waiting, key=lambda p: (p["taken"] / p["expected"], p["partition"]))[:SLOWEST]


def _pace(partition: Record) -> list[str]:
    cells = []
    if partition["rate"] is not None and partition["rate"] >= 1:
        cells.append(rate(partition["rate"], "rows"))
    if partition["left_s"] is not None:
        cells.append(f"{duration(partition['left_s'])} left")
    if partition["lag"]:
        cells.append(f"lag {number(partition['lag'])}")
    return cells


def job_line(job: Record) -> str:
    """A running job on one line: state, running stages, slowest partitions."""
    cells = [f"job {job['job']} {job['state']}"]
    if job["queue_position"] is not None:
        cells.append(f"position {job['queue_position']} in the queue")
    if warning := waiting_text(job["no_worker_s"]):
        cells.append(warning)
    cells += [_running(stage) for stage in job["stages"] if stage["state"] == "running"]
    partitions = job["partition_progress"]
    if partitions and job["state"] in {"IMPORTING", "AWAITING"}:
        done = sum(1 for p in partitions if p["state"] == done_word(job))
        cells.append(f"{done} of {len(partitions)} partitions")
        for p in slowest_of(partitions):
            share = percent(p["taken"], p["expected"]).strip()
            cells.append(", ".join([f"partition {p['partition']} {share}", *_pace(p)]))
    return "; ".join(cells)


def _running(stage: Record) -> str:
    name, done, total, left_s = (stage[key] for key in ("name", "done", "total", "left_s"))
    if total <= 0:
        return str(name)
    cells = [f"{name} {percent(done, total).strip()}", amount(stage)]
    if stage["rate"] is not None:
        cells.append(rate(stage["rate"], stage["unit"]))
    if left_s is not None and done < total:
        cells.append(f"{duration(left_s)} left")
    return ", ".join(cells)


def export_line(export: Record, elapsed_s: float) -> str:
    """Progress of an export on one line."""
    groups, state = export["groups"], export["state"]
    line = f"export {export['export']}  {state}"
    if state == "AWAITING":
        line += f"  snapshot {export['snapshot']}"
    if groups:
        rows, expected = (sum(group[name] for group in groups) for name in ("rows", "expected_rows"))
        # For a selection or a delta the expected rows are an upper bound: at the end only actual rows count.
        total = "" if state == "READY" else f" of {number(expected)}"
        written = sum(group["written"] for group in groups)
        line += f"  {number(rows)}{total} rows, {written} of {counted(len(groups), 'group')}"
        if state == "WRITING" and elapsed_s > 1 and rows:
            line += f", {number(int(rows / elapsed_s))} rows/s"
    return line


def column_pairs(
    columns: Sequence[Mapping[str, str]], changes: Mapping[str, Sequence[Mapping[str, str]]] | None
) -> list[tuple[str, str]]:
    """Columns of a version, and how they differ from the previous version's; `changes` is None if that is unknown."""
    pairs = [("columns", ", ".join(f"{c['name']}:{c['type']}" for c in columns) or "none")]
    if changes is not None:
        texts = [f"{word} {c['name']}:{c['type']}" for word in ("added", "dropped") for c in changes[word]]
        texts += [f"{c['name']} from {c['from']} to {c['to']}" for c in changes["retyped"]]
        pairs.append(("column changes", ", ".join(texts) or "none"))
    return pairs


def value_pairs(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Members without values in a receipt or a dry run, and a warning of columns that have lost all of theirs."""
    nulls = result.get("nulls_by_column")  # missing in receipts of earlier releases
    if not nulls:
        return []
    shown = ", ".join(f"{name} {number(count)}" for name, count in nulls.items() if count)
    pairs = [("nulls", shown or "none")]
    if emptied := result.get("emptied_columns"):
        pairs.append(("warning", f"no values any more in {', '.join(emptied)}, which had some in the version before"))
    return pairs


def kept_text(counts: Mapping[str, Any]) -> str:
    """How many members were kept, and how many of these have changed if that is known."""
    changed = counts.get("updated")
    return number(counts["kept"]) + ("" if changed is None else f" ({number(changed)} changed)")


def local_line(name: str, done: int, total: int, elapsed_s: float, *, rows: int = 0) -> str:
    """What this command does with a local file, in bytes, in the form of a stage."""
    speed = done / elapsed_s if done and elapsed_s > 0 else None
    return stage_line(
        {
            "name": name,
            "state": "done" if 0 < total <= done else "running",
            "done": done,
            "total": total,
            "unit": "bytes",
            "rows": rows,
            "rate": speed,
            "left_s": (total - done) / speed if speed else None,
        }
    )


def _mark(partition: Record) -> str:
    if partition["state"] is not None:
        return _MARKS[partition["state"]]
    return "→" if partition["sent"] else "·"
