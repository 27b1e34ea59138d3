"""The whole suite in one run, at a scale, as rows of a table: `run(scale)`."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from benchmarks.measure import KIB, spent_cpu_s
from connectors.sources.csv_reader import BLOCK_BYTES
from connectors.sources.limits import MIB
from tests.hostile import (
    avro_cases,
    csv_cases,
    csv_ends,
    csv_structure,
    frames,
    fuzzing,
    json_cases,
    parquet_cases,
    ranges,
)
from tests.hostile.bombs import BOMBS, QUICK, STREAM_PEAK
from tests.hostile.fuzzing import Finding
from tests.hostile.isolated import DIED, MEMORY_BYTES, RAISED, each
from tests.hostile.judging import SILENT
from tests.hostile.reading import CRASH, avro_verdict, parquet_verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of each part is run. `per_fault`: files with each CSV fault; None for all.

    `texts`, `wrappers`, `parquets`: files for each of `seeds` seeds; `texts` counts per format.
    """

    per_fault: int | None
    blocks: bool
    texts: int
    wrappers: int
    parquets: int
    every_bomb: bool
    seeds: int = 1


SCALES: Final = {
    "test": Scale(per_fault=4, blocks=False, texts=500, wrappers=150, parquets=150, every_bomb=False),
    "full": Scale(per_fault=None, blocks=True, texts=12_000, wrappers=4_000, parquets=12_000, every_bomb=True, seeds=3),
}


Kind = Literal["misread", "crash", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report. `wrong`: findings, empty if the promise was kept.

    `cpu_s`: this process and its children. `peak`: largest memory of a child in bytes, 0 if the readers run in this
    process; `bound`: its limit.
    """

    part: str = ""
    promise: str
    files: int
    wrong: tuple[str, ...]
    note: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak: int = 0
    bound: int = 0
    findings: tuple[Finding, ...] = field(default=(), repr=False)

    def of_kind(self, kind: Kind) -> int:
        """Number of findings of a kind."""
        return sum(kind_of(text) == kind for text in self.wrong)


def kind_of(wrong: str) -> Kind:
    """A silent misread; an unnamed end of a process; or any other broken promise."""
    if SILENT in wrong:
        return "misread"
    return "crash" if any(word in wrong for word in (CRASH, DIED, RAISED)) else "other"


Part = Callable[[Scale, int, Path], Row]


def run(scale: str = "test", *, seed: int = 1, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yield each row once it is known. Raises KeyError for an unknown scale or part."""
    for part in only or tuple(PARTS):
        began, used = time.monotonic(), spent_cpu_s()
        with tempfile.TemporaryDirectory() as folder:
            row = PARTS[part](SCALES[scale], seed, Path(folder))
        if row.peak > row.bound:
            over = f"a child had {row.peak // MIB} MiB, and {row.bound // MIB} are allowed"
            row = replace(row, wrong=(*row.wrong, over))
        yield replace(row, part=part, seconds=time.monotonic() - began, cpu_s=spent_cpu_s() - used)


def _csv(scale: Scale, _: int, __: Path) -> Row:
    files = 0
    wrong: list[str] = []
    for fault in csv_cases.FAULTS:
        for case in csv_cases.cases(fault, scale.per_fault):
            files += 1
            wrong += csv_cases.verdicts(case)
    return Row(
        promise="CSV with one fault is its clean twin, named rejects or an error, and what a naive reader reads",
        files=files,
        wrong=tuple(wrong),
        note=f"{len(csv_cases.FAULTS)} classes of faults at every place, in blocks of {csv_cases.BLOCK // KIB} KiB",
    )


def _through_the_child(promise: str, cases: Iterable[csv_cases.Case], folder: Path, note: str = "") -> Row:
    wrong: list[str] = []
    peaks = [0]
    files = 0
    for files, case in enumerate(cases, start=1):  # noqa: B007  # the last one is how many they were
        found, peak = csv_cases.parsed_verdicts(case, folder)
        wrong += found
        peaks.append(peak)
    return Row(promise=promise, files=files, wrong=tuple(wrong), note=note, peak=max(peaks), bound=STREAM_PEAK)


def _blocks(scale: Scale, _: int, folder: Path) -> Row:
    """Real blocks, through the child: structure faults at a border, in the first and in the last row."""
    faults = csv_structure.FAULTS if scale.blocks else ()
    others = len(csv_cases.FAULTS) - len(csv_structure.FAULTS)
    return _through_the_child(
        f"the same in blocks of {BLOCK_BYTES // MIB} MiB, through the child",
        (case for fault in faults for case in csv_cases.real_cases(fault, BLOCK_BYTES)),
        folder,
        f"the {len(csv_structure.FAULTS)} classes that say where records begin and end, in the first row, in the last "
        f"one, and 1 and 30 bytes before a border; not the {others} others and the other places, which depend no more "
        "on the size of a block than these: they are in the part csv",
    )


def _ends(scale: Scale, _: int, folder: Path) -> Row:
    sizes = csv_cases.SIZES if scale.blocks else {"several blocks": csv_cases.SIZES["several blocks"]}
    return _through_the_child(
        "a file that is cut off, or whose gzip or Zstandard is damaged, is never read as another",
        (
            case
            for fault in (*csv_ends.FAULTS, *csv_ends.PACKED)
            for case in csv_cases.whole_cases(fault, sizes, {"LF": {}})
        ),
        folder,
    )


def _jsonl(_: Scale, __: int, ___: Path) -> Row:
    cases = [case for name, line, code in json_cases.LINES for case in json_cases.cases(name, line, code)]
    return Row(
        promise="an odd line of JSON is a named reject, or exactly what it means",
        files=len(cases),
        wrong=tuple(wrong for case in cases for wrong in json_cases.verdicts(case)),
        note=f"{len(json_cases.LINES)} lines, each at every place",
    )


def _parquet(_: Scale, __: int, folder: Path) -> Row:
    cases = [case for kind in parquet_cases.KINDS.values() for case in kind()]
    peaks: list[int] = []
    return Row(
        promise="Parquet that is odd, damaged or lies is what was written, or has a name",
        files=len(cases),
        wrong=tuple(verdict for verdict in each(partial(parquet_verdict, folder=folder), cases, peaks) if verdict),
        peak=max(peaks),
        bound=MEMORY_BYTES,
    )


def _avro(_: Scale, __: int, folder: Path) -> Row:
    cases = [case for kind in avro_cases.KINDS.values() for case in kind()]
    peaks: list[int] = []
    return Row(
        promise="Avro that is odd, damaged or lies is what was written, or has a name",
        files=len(cases),
        wrong=tuple(verdict for verdict in each(partial(avro_verdict, folder=folder), cases, peaks) if verdict),
        peak=max(peaks),
        bound=MEMORY_BYTES,
    )


def _bombs(scale: Scale, _: int, folder: Path) -> Row:
    """Each bomb has its own bound, which its verdict checks."""
    bombs = [bomb for bomb in BOMBS if scale.every_bomb or bomb.name in QUICK]
    verdicts = [bomb.verdict(folder) for bomb in bombs]
    streams = [peak for bomb, (_, peak) in zip(bombs, verdicts, strict=True) if bomb.peak == STREAM_PEAK]
    return Row(
        promise="a bomb ends with a name, within its bound",
        files=len(bombs),
        wrong=tuple(verdict for verdict, _ in verdicts if verdict),
        note=f"what is read as a stream had {max(streams) // MIB} MiB at most, of {STREAM_PEAK // MIB}",
        peak=max(peak for _, peak in verdicts),
        bound=max(bomb.peak for bomb in bombs),
    )


def _seeds(scale: Scale, seed: int) -> range:
    return range(seed, seed + scale.seeds)


def _fuzz_texts(scale: Scale, seed: int, _: Path) -> Row:
    return _found(
        "mutated CSV and JSON Lines are what naive readers read",
        2 * scale.texts * scale.seeds,
        [
            f
            for n in _seeds(scale, seed)
            for suffix in (".csv", ".jsonl")
            for f in fuzzing.texts(suffix, scale.texts, n)
        ],
        f"{_text(_seeds(scale, seed))}; half of them CSV",
    )


def _fuzz_avro(scale: Scale, seed: int, _: Path) -> Row:
    return _found(
        "mutated Avro is what a naive reader reads",
        scale.texts * scale.seeds,
        [finding for n in _seeds(scale, seed) for finding in fuzzing.avros(scale.texts, n)],
        _text(_seeds(scale, seed)),
    )


def _fuzz_wrappers(scale: Scale, seed: int, _: Path) -> Row:
    return _found(
        "damaged gzip and Zstandard give what was packed, or an error",
        scale.wrappers * scale.seeds,
        [finding for n in _seeds(scale, seed) for finding in fuzzing.wrappers(scale.wrappers, n)],
        _text(_seeds(scale, seed)),
    )


def _fuzz_parquet(scale: Scale, seed: int, folder: Path) -> Row:
    runs = [fuzzing.parquets(scale.parquets, n, folder) for n in _seeds(scale, seed)]
    same, refused, unknowable, died = (
        sum(getattr(counts, name) for counts, _ in runs) for name in ("same", "refused", "unknowable", "died")
    )
    note = (
        f"{_text(_seeds(scale, seed))}; {same:,} as written, {refused:,} refused, {unknowable:,} where no checksum is"
    )
    note += f", {died} ended their reader and have a name" if died else ""
    row = _found(
        "damaged Parquet: pages with checksums are never misread, and every end has a name",
        scale.parquets * scale.seeds,
        [finding for _, findings in runs for finding in findings],
        note,
    )
    return replace(row, peak=max(counts.peak for counts, _ in runs), bound=MEMORY_BYTES)


def _ranges(scale: Scale, seed: int, _: Path) -> Row:
    runs = [ranges.wrong(scale.texts // 3, n) for n in _seeds(scale, seed)]
    cut, again = (sum(counts[what] for _, counts in runs) for what in ("ranges", "again"))
    return Row(
        promise="text in ranges, cut anywhere, is what one pass and naive readers read",
        files=scale.texts // 3 * scale.seeds,
        wrong=tuple(wrong for found, _ in runs for wrong in found),
        note=f"{_text(_seeds(scale, seed))}; {cut:,} ranges, and {again:,} that were read again",
    )


def _frames(scale: Scale, seed: int, _: Path) -> Row:
    runs = [frames.wrong(2 * scale.texts, n) for n in _seeds(scale, seed)]
    return Row(
        promise="what a child sends that is no frame has a name in the parent",
        files=2 * scale.texts * scale.seeds,
        wrong=tuple(wrong for found, _ in runs for wrong in found),
        note=f"{_text(_seeds(scale, seed))}; the memory is that of the parent",
        peak=max(peak for _, peak in runs),
        bound=frames.PARENT_PEAK,
    )


def _found(promise: str, files: int, findings: list[Finding], note: str) -> Row:
    wrong = tuple(finding.wrong for finding in findings)
    return Row(promise=promise, files=files, wrong=wrong, note=note, findings=tuple(findings))


def _text(seeds: range) -> str:
    return f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"


PARTS: Final[dict[str, Part]] = {
    "csv": _csv,
    "blocks": _blocks,
    "ends": _ends,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "avro": _avro,
    "bombs": _bombs,
    "fuzz-texts": _fuzz_texts,
    "fuzz-avro": _fuzz_avro,
    "fuzz-wrappers": _fuzz_wrappers,
    "fuzz-parquet": _fuzz_parquet,
    "ranges": _ranges,
    "frames": _frames,
}
