"""Writes the files for the engines: `python -m orchestration.workflow`, or `make workflow`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestration.workflow.asl import render
from orchestration.workflow.export_audience import EXPORT_AUDIENCE
from orchestration.workflow.import_audience import IMPORT_AUDIENCE
from orchestration.workflow.resources import MACHINE_SUFFIX, WORKFLOW
from orchestration.workflow.stages import Machine

MACHINES: Final[Mapping[str, Machine]] = {"import_audience": IMPORT_AUDIENCE, "export_audience": EXPORT_AUDIENCE}


def write(directory: Path = WORKFLOW) -> None:
    """Write `<name>.asl.json` for each machine."""
    for name, machine in MACHINES.items():
        (directory / f"{name}{MACHINE_SUFFIX}").write_text(render(machine), encoding="utf-8")


if __name__ == "__main__":
    write()
