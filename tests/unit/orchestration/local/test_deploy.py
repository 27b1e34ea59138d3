"""The workflow's files as the engine gets them."""

from pathlib import Path

import pytest

from orchestration.workflow.resources import (
    SUBSTITUTIONS,
    FunctionSpec,
    MachineSpec,
    function_specs,
    inbox_pattern,
    machine_specs,
    substitute,
)
from schemas.errors import FatalError


def test_every_substitution_of_the_shipped_workflow_has_a_value() -> None:
    values = {f"{f.name}Function": f.name for f in function_specs()} | dict.fromkeys(SUBSTITUTIONS, "x")

    machines = machine_specs()

    assert "ImportAudience" in [m.name for m in machines]
    assert all("${" not in substitute(m, values) for m in machines)


def test_a_name_without_value_is_refused() -> None:
    machine = MachineSpec(name="M", definition='{"a": "${Known}", "b": "${Unknown}"}')

    with pytest.raises(FatalError, match="M: no value for Unknown"):
        substitute(machine, {"Known": "1"})


def test_functions_are_read_with_their_limits(tmp_path: Path) -> None:
    (tmp_path / "functions.toml").write_text('[One]\nhandler = "m.one"\ntimeout_s = 5\nmemory_mb = 128\n')

    assert function_specs(tmp_path) == (FunctionSpec(name="One", handler="m.one", timeout_s=5, memory_mb=128),)


def test_a_function_without_handler_is_refused(tmp_path: Path) -> None:
    (tmp_path / "functions.toml").write_text("[One]\ntimeout_s = 5\n")

    with pytest.raises(FatalError, match="handler"):
        function_specs(tmp_path)


def test_the_inbox_may_be_a_prefix_of_its_bucket() -> None:
    assert "object" not in inbox_pattern("b")["detail"]
    assert inbox_pattern("b", "in/")["detail"] == {
        "bucket": {"name": ["b"]},
        "object": {"key": [{"prefix": "in/"}]},
    }
