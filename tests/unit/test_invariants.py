"""Invariants of ARCHITECTURE.md that the source alone can show."""

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
WRITES: Final = {"insert", "update", "delete"}


def written_tables(source: str) -> set[str]:
    """Tables of the catalog that a module changes by name."""
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    tables = (
        node.args[0] if ast.unparse(node.func).startswith("sa.") and node.args else node.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
    )
    names = {ast.unparse(table).rpartition(".")[2] for table in tables}
    return {imported.get(name, name) for name in names}


def test_written_tables_are_recognised() -> None:
    source = "from t import jobs as all_jobs\nall_jobs.update()\nsa.delete(tables.exports)\nself._table.insert()\n"
    assert written_tables(source) == {"jobs", "exports", "_table"}


def test_state_of_jobs_is_written_in_one_module() -> None:
    writers = {
        file.name
        for file in (ROOT / "orchestration").rglob("*.py")
        if written_tables(file.read_text(encoding="utf-8")) & {"jobs", "exports", "_jobs", "_table"}
    }
    assert writers == {"life_cycle.py"}
