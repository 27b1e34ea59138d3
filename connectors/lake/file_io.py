"""How pyiceberg reads and writes files: over one Arrow file system a process, whichever table they belong to.

pyiceberg makes a `FileIO` for every table that it loads, and a file system with connections of its own for each. These
are in a cycle of references, so that they stay open until the garbage collector looks at what is old: a process that
loads tables every few seconds had some hundred connections open, and more the longer it ran.
"""

from functools import lru_cache
from typing import Final

from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

IMPLEMENTATION: Final = f"{__name__}.SharedFileIO"
"""For the catalog's property `py-io-impl`."""
OF_STORE: Final = "s3."
"""What properties begin with that say where files are; the others are those of the table."""
KEPT: Final = 8
"""File systems; credentials that expire make another one."""


class SharedFileIO(PyArrowFileIO):
    """`PyArrowFileIO` whose file systems are those of the process."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        of_store = tuple(sorted((name, str(v)) for name, v in self.properties.items() if name.startswith(OF_STORE)))
        return _file_system(of_store, scheme, netloc)


@lru_cache(maxsize=KEPT)
def _file_system(properties: tuple[tuple[str, str], ...], scheme: str, netloc: str | None) -> FileSystem:
    return PyArrowFileIO(dict(properties))._initialize_fs(scheme, netloc)  # noqa: SLF001  # its own, by another class
