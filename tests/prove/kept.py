"""Results of a stopped exhibit, from which the next `make prove` continues.

They are valid only for the same product and tests, and are deleted when the exhibit is complete.
"""

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any, Final

from tests.trees import ROOT, tested_code

FOLDER: Final = ROOT / ".prove"


class Kept:
    """Results of one exhibit, by the work that they are results of (any value with a distinct `repr`)."""

    def __init__(self, exhibit: str, folder: Path = FOLDER) -> None:
        self._folder = folder / exhibit / tested_code()

    def __contains__(self, work: object) -> bool:
        return self._file(work).exists()

    def __getitem__(self, work: object) -> Any:
        return pickle.loads(self._file(work).read_bytes())

    def __setitem__(self, work: object, result: object) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / "new"
        new.write_bytes(pickle.dumps(result))
        new.replace(self._file(work))  # the whole file or none

    def forget(self) -> None:
        """Delete all results of the exhibit, also those of other versions of the code."""
        shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _file(self, work: object) -> Path:
        return self._folder / hashlib.sha256(repr(work).encode()).hexdigest()
