"""How pyiceberg reads and writes files: over one Arrow file system a process, whichever table they belong to.

pyiceberg makes a `FileIO` for every table that it loads, and a file system with connections of its own for each. These
are in a cycle of references, so that they stay open until the garbage collector looks at what is old: a process that
loads tables every few seconds had some hundred connections open, and more the longer it ran.

A file is deleted by one request. Arrow's file system looks first whether there is such a folder, and then puts an empty
object in its place, `metadata/`, which belongs to nothing: pyiceberg deletes a file after every commit.
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
"""For the catalog's property `py-io-impl`."""


class SharedFileIO(PyArrowFileIO):
    """`PyArrowFileIO` whose file systems are those of the process."""

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete an object; one that is not there is no error. Raises OSError, which is all that pyiceberg expects."""
        uri = location if isinstance(location, str) else location.location
        bucket, key = split_s3_uri(uri)
        try:
            delete_objects(S3Access.of_iceberg(self.properties).client(), bucket, [key])
        except (ClientError, BotoCoreError) as exc:
            raise OSError(f"{uri} was not deleted: {exc}") from exc

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        del scheme, netloc  # everything of ours is in one store
        return S3Access.of_iceberg(self.properties).filesystem()
