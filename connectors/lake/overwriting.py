"""Snapshots that replace files, without what earlier snapshots have removed.

pyiceberg carries over manifests that hold nothing but entries of removed files. An audience that is replaced daily
would list one more such manifest with every version, and each commit reads all of them. Iceberg's own Java library
drops them too: only the snapshot that removes a file has to say so.
"""

from collections.abc import Mapping

from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles


class Overwrite(_OverwriteFiles):
    """As `Transaction.update_snapshot().overwrite()`: a context that commits to the transaction at its end."""

    def __init__(self, transaction: Transaction, properties: Mapping[str, str] | None = None) -> None:
        super().__init__(
            operation=Operation.APPEND
            if transaction.table_metadata.current_snapshot() is None
            else Operation.OVERWRITE,
            transaction=transaction,
            io=transaction._table.io,  # noqa: SLF001  # as `Transaction.update_snapshot`
            snapshot_properties=dict(properties or {}),
        )

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        return [
            manifest
            for manifest in manifests
            if manifest.has_added_files()
            or manifest.has_existing_files()
            or manifest.added_snapshot_id == self._snapshot_id
        ]
