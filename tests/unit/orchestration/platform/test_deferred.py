"""Deferred modules are loaded on first use, others immediately."""

import builtins
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from orchestration.platform.deferred import deferred

IMPORTER = """
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from late import first, second as other

def use():
    return first.VALUE, other.VALUE
"""


@pytest.fixture(autouse=True)
def _late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "late"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("VALUE = 1\n")
    (package / "second.py").write_text("VALUE = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("late", "late.first", "late.second"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def importer(name: str = "importer") -> ModuleType:
    made = ModuleType(name)
    exec(compile(IMPORTER, name, "exec"), vars(made))
    return made


def test_a_module_is_loaded_at_its_first_use() -> None:
    module = importer()
    assert "late" not in sys.modules
    assert module.use() == (1, 2)
    assert {"late.first", "late.second"} <= set(sys.modules)


def test_replaced_attributes_are_visible_through_deferred_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importer()
    monkeypatch.setattr("late.first.VALUE", 3)
    assert module.use() == (3, 2)


@pytest.mark.parametrize(
    ("stage", "unused"),
    [
        ("verify.verify", {"confluent_kafka", "duckdb"}),
        ("send.send_members", {"duckdb"}),
        ("publish.publish", {"confluent_kafka", "duckdb"}),
    ],
)
def test_function_loads_only_its_own_stage(stage: str, unused: set[str]) -> None:
    probe = f"import sys; from orchestration.kinds import kind; kind.{stage}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "orchestration" in loaded
    assert loaded & unused == set()


def test_imports_of_other_modules_in_the_block_run_normally() -> None:
    with deferred("somebody.else"):
        from late import first  # type: ignore[import-not-found]  # noqa: PLC0415  # the case

        assert isinstance(first, ModuleType)


def test_imports_work_again_after_an_error() -> None:
    load = builtins.__import__
    with pytest.raises(ZeroDivisionError), deferred(__name__):
        _ = 1 / 0
    assert builtins.__import__ is load


def test_missing_module_is_an_import_error_at_first_use() -> None:
    with deferred(__name__):
        from late import missing  # noqa: PLC0415  # the case
    with pytest.raises(ModuleNotFoundError, match=r"late\.missing"):
        _ = missing.VALUE
