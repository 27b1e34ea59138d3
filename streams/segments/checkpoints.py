"""Checkpoints of a partition in the staging bucket: the latest readable one counts, older ones are removed."""

import logging
from typing import Final
from zipfile import BadZipFile

from schemas.errors import UserError
from schemas.ids import Partition
from schemas.layout import checkpoint_key, checkpoint_prefix, is_checkpoint_key
from segmentation.partitions.checkpoint import Checkpoint, decode, encode
from streams.staging import StagingStore

_log = logging.getLogger(__name__)
_KEPT: Final = 2
_UNREADABLE: Final = (BadZipFile, EOFError, ValueError, KeyError, TypeError, UserError)
"""Errors of a checkpoint that is damaged, truncated, or of another release (format, or unknown rule: `UserError`)."""


def save(store: StagingStore, bucket: str, checkpoint: Checkpoint) -> int:
    """Store a checkpoint, then remove all but the latest two. Returns its size in bytes."""
    partition, position = checkpoint.segments.partition, checkpoint.segments.position
    key = checkpoint_key(partition, checkpoint.generation, checkpoint.changes, position.at_us, checkpoint.log_epoch)
    content = encode(checkpoint)
    store.put_new(bucket, key, content)
    if old := _keys(store, bucket, partition)[:-_KEPT]:
        store.delete(bucket, old)
    return len(content)


def latest(store: StagingStore, bucket: str, partition: Partition) -> Checkpoint | None:
    """The latest readable checkpoint. None if there is none: the whole past must then be read."""
    for key in reversed(_keys(store, bucket, partition)):
        data = store.get(bucket, key)
        try:
            if data is not None:
                return decode(data)
        except _UNREADABLE as exc:
            _log.warning("checkpoint %s cannot be read, using an older one: %r", key, exc)
    return None


def _keys(store: StagingStore, bucket: str, partition: Partition) -> list[str]:
    """Keys of checkpoints, oldest first. A foreign object would count as the newest, and displace real ones."""
    return [key for key in store.list_keys(bucket, checkpoint_prefix(partition)) if is_checkpoint_key(key)]
