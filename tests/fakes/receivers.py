"""The scripts that the documentation gives to receivers, as modules, and a receiver of in-memory topics."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final = ROOT / "schemas" / "avro"


def script(name: str) -> ModuleType:
    """A script of docs/ as a module; it finds its neighbours as it does when run from there."""
    folder = str(ROOT / "docs")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


class Receiver:
    """docs/consume_export.py on messages passed to it; `finished` has the rows of each complete export."""

    def __init__(self) -> None:
        self._script = script("consume_export")
        self._decode = self._script.decoder(SCHEMAS)
        self._exports = self._script.Exports()
        self.finished: dict[str, list[tuple[str | None, tuple[Any, ...]]]] = {}

    @property
    def faults(self) -> list[str]:
        """Complaints of the script."""
        return list(self._exports.faults)

    def take(self, values: Iterable[bytes]) -> "Receiver":
        """Take messages, in order per partition; returns self."""
        for value in values:
            name, message = self._decode(value)
            if name is not None and name.startswith("Export"):
                done = self._exports.take(name, message)
                if done is not None:
                    assert done["export_id"] not in self.finished, "a finished export is reported once"
                    self.finished[done["export_id"]] = list(self._script.changes(done))
        return self
