"""Progress as text: a block for a terminal of 80 columns, and one line for a log. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestration.cli.formatting import bar, duration, number, percent, rate, safe, shorten, size
from orchestration.operations.follow import ExportView, JobView, PartitionState, PartitionView, StageView

COLUMNS: Final = 80
MAX_PARTITIONS: Final = 16
"""With more partitions, only the slowest are listed."""
SLOWEST: Final = 4
_PLACES: Final = {"function": "in a function", "task": "in a task", "machine": "on a machine"}
_MARKS: Final = {"materialised": "✓", "archived": "✓", "failed": "✗"}


def job_lines(view: JobView) -> list[str]:
    """A running job: a heading, a line per stage, and its partitions."""
    job = view.job
    source = safe(job.origin)
    queued = "" if view.queue_position is None else f", position {view.queue_position} in the queue"
    lines = [
        f"job {job.job_id}  {job.state}" + (f", attempt {job.attempt}" if job.attempt > 1 else "") + queued,
        "  " + shorten(f"{safe(job.tenant)}/{safe(job.audience)}, {job.mode}, {source}", COLUMNS - 2),
    ]
    lines += [stage_line(stage) for stage in view.stages]
    if warning := waiting_text(view.no_worker_s):
        lines.append(f"  {warning}")
    return lines + partition_lines(view.partitions, done_word(view))


def waiting_text(no_worker_s: float | None) -> str:
    """`waiting: no worker for 14 s`; empty while a worker has the partitions."""
    return "" if no_worker_s is None else f"waiting: no worker for {duration(no_worker_s)}"


def stage_line(stage: StageView) -> str:
    """`  verify       ━━━━━━━━━━━━━━━━ 100 %  1,000,000 rows  52.1 MB/s  3 s left`."""
    if stage.state == "waiting":
        return f"  {stage.name:<11} {bar(0)}"
    if stage.total <= 0:
        return f"  {stage.name:<11} {bar(stage.state == 'done')}  {_WORDS[stage.state]}"
    cells = [amount(stage)]
    if stage.rate is not None and stage.rate >= 1:
        cells.append(rate(stage.rate, stage.unit))
    if stage.state == "running" and stage.left_s is not None and stage.done < stage.total:
        cells.append(f"{duration(stage.left_s)} left")
    if stage.state == "stopped":
        cells.append("stopped")
    gauge = f"{bar(stage.done / stage.total)} {percent(stage.done, stage.total)}"
    return f"  {stage.name:<11} {gauge}  {'  '.join(cells)}"


def places_line(stages: Sequence[StageView]) -> str:
    """`verify in a function, import in a task`: the stages that have begun and had a choice; may be empty."""
    return ", ".join(f"{stage.name} {_PLACES.get(stage.place, stage.place)}" for stage in stages if stage.place)


def amount(stage: StageView) -> str:
    """The amount done, in rows if they are counted."""
    if stage.rows or stage.unit == "rows":
        return f"{number(stage.rows)} {'row' if stage.rows == 1 else 'rows'}"
    return size(stage.done) if stage.unit == "bytes" else f"{number(stage.done)} {stage.unit}"


def done_word(view: JobView) -> PartitionState:
    """The final state of a job's partitions."""
    return "materialised" if view.job.kind == "audience" else "archived"


def partition_lines(partitions: Sequence[PartitionView], word: PartitionState = "materialised") -> list[str]:
    """Partitions, one per line: how much was sent, how much the workers have taken, how fast, and how much waits."""
    if not partitions:
        return []
    done = sum(1 for p in partitions if p.state == word)
    title = f"  partitions  {done} of {len(partitions)} {word}"
    if len(partitions) <= MAX_PARTITIONS:
        return [title, *map(partition_line, partitions)]
    slowest = slowest_of(partitions)
    return [title + (f"; the slowest {len(slowest)}" if slowest else ""), *map(partition_line, slowest)]


def partition_line(partition: PartitionView) -> str:
    """`     0 → sent 100 %  taken  62 %  1,234,567  12.3 k rows/s  3 s left  lag 12`."""
    cells = [
        f"  {partition.partition:>4} {_mark(partition)} sent {percent(partition.sent, partition.expected)}",
        f"taken {percent(partition.taken, partition.expected)}",
        number(partition.taken),
        *_pace(partition),
    ]
    return "  ".join(cells)


def slowest_of(partitions: Sequence[PartitionView]) -> list[PartitionView]:
    """The partitions that will be materialised last, slowest first."""
    waiting = [p for p in partitions if p.state is None and p.taken < p.expected]
    return sorted(waiting, key=lambda p: (p.taken / p.expected, p.partition))[:SLOWEST]


def _pace(partition: PartitionView) -> list[str]:
    cells = []
    if partition.rate is not None and partition.rate >= 1:
        cells.append(rate(partition.rate, "rows"))
    if partition.left_s is not None:
        cells.append(f"{duration(partition.left_s)} left")
    if partition.lag:
        cells.append(f"lag {number(partition.lag)}")
    return cells


def job_line(view: JobView) -> str:
    """A running job on one line: state, running stages, slowest partitions."""
    cells = [f"job {view.job.job_id} {view.job.state}"]
    if view.queue_position is not None:
        cells.append(f"position {view.queue_position} in the queue")
    if warning := waiting_text(view.no_worker_s):
        cells.append(warning)
    for stage in view.stages:
        if stage.state != "running":
            continue
        if stage.total <= 0:
            cells.append(stage.name)
            continue
        text = f"{stage.name} {percent(stage.done, stage.total).strip()}, {amount(stage)}"
        if stage.rate is not None:
            text += f", {rate(stage.rate, stage.unit)}"
        if stage.left_s is not None and stage.done < stage.total:
            text += f", {duration(stage.left_s)} left"
        cells.append(text)
    if view.partitions and view.job.state in {"IMPORTING", "AWAITING"}:
        done = sum(1 for p in view.partitions if p.state == done_word(view))
        cells.append(f"{done} of {len(view.partitions)} partitions")
        for p in slowest_of(view.partitions):
            share = percent(p.taken, p.expected).strip()
            cells.append(", ".join([f"partition {p.partition} {share}", *_pace(p)]))
    return "; ".join(cells)


def export_line(view: ExportView, elapsed_s: float) -> str:
    """Progress of an export on one line."""
    export = view.export
    line = f"export {export.job_id}  {export.state}"
    if view.groups:
        # For a selection or a delta the expected rows are an upper bound: at the end only actual rows count.
        total = "" if export.state == "READY" else f" of {number(view.expected_rows)}"
        line += f"  {number(view.rows)}{total} rows, {view.written} of {len(view.groups)} groups"
        if export.state == "WRITING" and elapsed_s > 1 and view.rows:
            line += f", {number(int(view.rows / elapsed_s))} rows/s"
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


def upload_line(done: int, total: int, elapsed_s: float) -> str:
    """The upload of a local file, in the form of a stage."""
    speed = done / elapsed_s if done and elapsed_s > 0 else None
    return stage_line(
        StageView(
            name="upload",
            state="done" if done >= total else "running",
            done=done,
            total=total,
            unit="bytes",
            rate=speed,
            left_s=(total - done) / speed if speed else None,
        )
    )


def _mark(partition: PartitionView) -> str:
    if partition.state is not None:
        return _MARKS[partition.state]
    return "→" if partition.sent else "·"


_WORDS: Final = {"running": "running", "done": "done", "stopped": "stopped"}
