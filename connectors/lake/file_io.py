"""File access for pyiceberg: one Arrow file system per process, shared by all tables.

pyiceberg creates a `FileIO` for every table that it loads, each with a file system and connections of its own. These
are in a reference cycle and stay open until the garbage collector reaches the old generation: a process that loads
tables every few seconds had about a hundred open connections, and more the longer it ran.

A file is deleted with one request. Arrow's file system first checks for a folder of that name, and afterwards writes an
empty object in its place, `metadata/`, which belongs to nothing: pyiceberg deletes a file after every commit.
"""

from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from pyarrow.fs import FileSystem
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from schemas.layout import split_s3_uri

IMPLEMENTATION: Final = f"{__name__}.SharedFileIO"
"""Value of the catalog property `py-io-impl`."""


class SharedFileIO(PyArrowFileIO):
    """`PyArrowFileIO` with the file systems of the process."""

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete an object; a missing one is no error. Raises OSError, the only error that pyiceberg expects."""
        uri = location if isinstance(location, str) else location.location
        bucket, key = split_s3_uri(uri)
        try:
            delete_objects(S3Access.from_iceberg(self.properties).client(), bucket, [key])
        except (ClientError, BotoCoreError) as exc:
            raise OSError(f"{uri} was not deleted: {exc}") from exc

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        del scheme, netloc  # all our objects are in one store
        return S3Access.from_iceberg(self.properties).filesystem()
