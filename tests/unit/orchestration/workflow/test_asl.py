"""The tables of stages render to exactly the files that the engines get."""

from pathlib import Path

import pytest

from orchestration.workflow.__main__ import MACHINES, write
from orchestration.workflow.asl import render
from orchestration.workflow.resources import MACHINE_SUFFIX, WORKFLOW


@pytest.mark.parametrize("name", MACHINES)
def test_table_of_stages_renders_the_committed_file(name: str) -> None:
    file = (WORKFLOW / f"{name}{MACHINE_SUFFIX}").read_bytes().decode()
    assert file == render(MACHINES[name]), "the file is not what its table says: run `make workflow`"


def test_every_definition_is_rendered_from_a_table(tmp_path: Path) -> None:
    write(tmp_path)
    committed = {path.name: path.read_bytes() for path in WORKFLOW.glob(f"*{MACHINE_SUFFIX}")}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == committed
