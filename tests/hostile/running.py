"""Everything of this suite in one run, at a scale, as rows for a table: `run(scale)`."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from connectors.sources.csv_reader import BLOCK_BYTES
from connectors.sources.limits import MIB
from tests.hostile import csv_cases, csv_ends, csv_structure, frames, fuzzing, json_cases, parquet_cases
from tests.hostile.bombs import BOMBS, QUICK
from tests.hostile.fuzzing import Finding
from tests.hostile.isolated import each
from tests.hostile.reading import parquet_verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of each part is run. `per_fault`: files with each fault of CSV; None for all."""

    per_fault: int | None
    blocks: bool
    texts: int
    wrappers: int
    parquets: int
    every_bomb: bool


SCALES: Final = {
    "test": Scale(per_fault=4, blocks=False, texts=500, wrappers=150, parquets=150, every_bomb=False),
    "full": Scale(per_fault=None, blocks=True, texts=20_000, wrappers=4_000, parquets=20_000, every_bomb=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report. `wrong`: what was found, empty where the promise held."""

    part: str
    promise: str
    files: int
    wrong: tuple[str, ...]
    note: str = ""
    seconds: float = 0.0
    findings: tuple[Finding, ...] = field(default=(), repr=False)


Part = Callable[[Scale, int, Path], Row]


def run(scale: str = "test", *, seed: int = 1, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows, each when it is known. Raises KeyError for a scale or a part that is none."""
    for part in only or tuple(PARTS):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            row = PARTS[part](SCALES[scale], seed, Path(folder))
        yield Row(
            part=part,
            promise=row.promise,
            files=row.files,
            wrong=row.wrong,
            note=row.note,
            seconds=time.monotonic() - began,
            findings=row.findings,
        )


def _row(promise: str, files: int, wrong: list[str], note: str = "") -> Row:
    return Row(part="", promise=promise, files=files, wrong=tuple(wrong), note=note)


def _csv(scale: Scale, _: int, __: Path) -> Row:
    files = 0
    wrong: list[str] = []
    for fault in csv_cases.FAULTS:
        for case in csv_cases.cases(fault, scale.per_fault):
            files += 1
            wrong += csv_cases.verdicts(case)
    promise = "CSV with one fault is its clean twin, named rejects or an error, and what a naive reader reads"
    return _row(promise, files, wrong, f"{len(csv_cases.FAULTS)} classes of faults")


def _blocks(scale: Scale, _: int, folder: Path) -> Row:
    """Real blocks, through the child: the faults of structure at a border, in the first and in the last row."""
    files = 0
    wrong: list[str] = []
    for fault in csv_structure.FAULTS if scale.blocks else ():
        for case in csv_cases.real_cases(fault, BLOCK_BYTES):
            files += 1
            wrong += csv_cases.parsed_verdicts(case, folder)
    return _row(f"the same in blocks of {BLOCK_BYTES // MIB} MiB, through the child", files, wrong)


def _ends(scale: Scale, _: int, folder: Path) -> Row:
    files = 0
    wrong: list[str] = []
    sizes = csv_cases.SIZES if scale.blocks else {"several blocks": csv_cases.SIZES["several blocks"]}
    for fault in (*csv_ends.FAULTS, *csv_ends.PACKED):
        for case in csv_cases.whole_cases(fault, sizes, {"LF": {}}):
            files += 1
            wrong += csv_cases.parsed_verdicts(case, folder)
    return _row("a file that is cut off, or whose gzip or Zstandard is damaged, is never read as another", files, wrong)


def _jsonl(_: Scale, __: int, ___: Path) -> Row:
    files = 0
    wrong: list[str] = []
    for name, line, code in json_cases.LINES:
        for case in json_cases.cases(name, line, code):
            files += 1
            wrong += json_cases.verdicts(case)
    return _row("an odd line of JSON is a named reject, or exactly what it means", files, wrong)


def _parquet(_: Scale, __: int, folder: Path) -> Row:
    cases = [case for kind in parquet_cases.KINDS.values() for case in kind()]
    wrong = [verdict for verdict in each(partial(parquet_verdict, folder=folder), cases) if verdict]
    return _row("Parquet that is odd, damaged or lies is what was written, or has a name", len(cases), wrong)


def _bombs(scale: Scale, _: int, folder: Path) -> Row:
    bombs = [bomb for bomb in BOMBS if scale.every_bomb or bomb.name in QUICK]
    verdicts = [bomb.verdict(folder) for bomb in bombs]
    peak = max(peak for _, peak in verdicts)
    wrong = [verdict for verdict, _ in verdicts if verdict]
    return _row("a bomb ends with a name, within its bound", len(bombs), wrong, f"largest child {peak // MIB} MiB")


def _fuzz_texts(scale: Scale, seed: int, _: Path) -> Row:
    findings = [f for suffix in (".csv", ".jsonl") for f in fuzzing.texts(suffix, scale.texts, seed)]
    return _found("mutated CSV and JSON Lines are what naive readers read", 2 * scale.texts, findings)


def _fuzz_wrappers(scale: Scale, seed: int, _: Path) -> Row:
    findings = list(fuzzing.wrappers(scale.wrappers, seed))
    return _found("damaged gzip and Zstandard give what was packed, or an error", scale.wrappers, findings)


def _fuzz_parquet(scale: Scale, seed: int, folder: Path) -> Row:
    counts, findings = fuzzing.parquets(scale.parquets, seed, folder)
    note = f"{counts.same} as written, {counts.refused} refused, {counts.unknowable} where no checksum is"
    note += f", {counts.died} ended their reader and have a name" if counts.died else ""
    return _found("damaged Parquet: pages with checksums are never misread, and every end has a name", scale.parquets,
                  findings, note)  # fmt: skip


def _frames(scale: Scale, seed: int, _: Path) -> Row:
    count = 2 * scale.texts
    return _row("what a child sends that is no frame has a name in the parent", count, frames.wrong(count, seed))


def _found(promise: str, files: int, findings: list[Finding], note: str = "") -> Row:
    wrong = tuple(finding.wrong for finding in findings)
    return Row(part="", promise=promise, files=files, wrong=wrong, note=note, findings=tuple(findings))


PARTS: Final[dict[str, Part]] = {
    "csv": _csv,
    "blocks": _blocks,
    "ends": _ends,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "bombs": _bombs,
    "fuzz-texts": _fuzz_texts,
    "fuzz-wrappers": _fuzz_wrappers,
    "fuzz-parquet": _fuzz_parquet,
    "frames": _frames,
}
