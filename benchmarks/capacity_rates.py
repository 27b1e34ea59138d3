"""Turns the results of a run (`python -m benchmarks ... --json F`) into the file of rates that quotes are based on."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from orchestration.quoting.rates import Assumed, ByteRate, Rates, StageRate

US: Final = 1e6
STAGES: Final = {
    "verify": ("verify", "muster verify"),
    "import_": ("publish", "muster publish"),
    "materialise": ("worker", "muster's worker"),
    "build": ("version", "muster build, append"),
    "publish": ("version", "muster publish version"),
    "whole": ("import", "whole import"),
}
"""Source of each rate: benchmark and label of a result. All other rates keep their values."""
STORED: Final = {"kafka": "import_", "lake": "publish"}
"""Row sizes that come from a stage's result, if the result says how many bytes its rows take."""
HEAD: Final = """\
# What a row of the benchmarks' file (a UUID, a number, two letters) takes in each stage: microseconds of time and of
# processors, and bytes. Written by `python -m benchmarks.capacity_page`; docs/capacity.md says what is made of it.
"""


def measured(rates: Rates, report: Mapping[str, Any]) -> Rates:
    """The rates, with those that a report contains replaced.

    Processor time beyond that of all cores comes from process starts before the clock, and is cut off.
    """
    changes: dict[str, StageRate | ByteRate] = {}
    machine, rows = report["machine"], report["rows"]
    day = datetime.fromisoformat(report["measured_at"]).astimezone(UTC).date()
    where = f"{machine['cores']} cores at a load of {machine['load_average']:.1f}, {day}"
    # A result is repeated for each baseline; only the first says how many bytes its rows take.
    found = {(r["benchmark"], r["label"]): r for r in reversed(report["results"])}
    for name, key in STAGES.items():
        if (result := found.get(key)) is None:
            continue
        best = result["best"]
        wall_us = best["wall_s"] / best["rows"] * US
        cpu_us = min(best["cpu_s"] / best["rows"] * US, wall_us * machine["cores"])
        source = f"{best['rows'] / US:g} M rows, {where}: python -m benchmarks {key[0]}"
        changes[name] = StageRate(wall_us=round(wall_us, 3), cpu_us=round(cpu_us, 3), source=source)
        for stored in (stored for stored, stage in STORED.items() if stage == name and result["stored_bytes"]):
            each = round(result["stored_bytes"] / best["rows"], 2)
            changes[stored] = ByteRate(bytes=each, source=f"{source}, one replica" if stored == "kafka" else source)
    if report["bytes"]:
        each = round(report["bytes"] / rows, 2)
        changes["file"] = ByteRate(bytes=each, source=f"CSV of {rows / US:g} M rows: python -m benchmarks")
    return replace(rates, **changes)  # type: ignore[arg-type]  # fields of three types, each by its name


def as_toml(rates: Rates) -> str:
    """The contents of the file of rates."""
    tables: dict[str, list[str]] = {"stages": [], "bytes": [], "assumed": []}
    for field in fields(rates):
        rate, name = getattr(rates, field.name), field.name.removesuffix("_")
        match rate:
            case StageRate():
                line = (
                    f"{name} = {{ wall_us = {rate.wall_us}, cpu_us = {rate.cpu_us}, source = {quoted(rate.source)} }}"
                )
                tables["stages"].append(line)
            case ByteRate():
                tables["bytes"].append(f"{name} = {{ bytes = {rate.bytes}, source = {quoted(rate.source)} }}")
            case Assumed():
                tables["assumed"].append(f"{name} = {{ value = {rate.value}, source = {quoted(rate.source)} }}")
    parts = [f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in tables.items()]
    return HEAD + "\n" + "\n".join(parts)


def quoted(text: str) -> str:
    """The text as a basic string of TOML."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write(rates: Rates, path: Path) -> None:
    """Write the file of rates."""
    path.write_text(as_toml(rates), encoding="utf-8")
