"""Durable state of groups: runs, intents and results in the staging bucket. Every call blocks."""

from collections.abc import Sequence

from schemas.codec import CODEC
from schemas.ids import Attempt, Partition
from schemas.layout import intent_key, intent_prefix, result_key, staging_prefix
from schemas.messages import ImportAborted, ImportEnded
from segmentation.merging import StagedRun
from segmentation.progress import GroupKey, Progress
from streams.merges import Intent
from streams.runs import encode_run, find_runs, stored_message
from streams.spool import BufferedChunk
from streams.staging import StagingStore


class StagedState:
    """Reads and writes the durable state of groups."""

    def __init__(self, store: StagingStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def resume(self, key: GroupKey) -> Progress:
        """State of a group as a new owner finds it. Footers are read only if there are runs."""
        keys = self._store.list_keys(self._bucket, staging_prefix(key.import_id, key.attempt, key.partition))
        if result_key(key.import_id, key.attempt, key.partition) in keys and self.result(key) is not None:
            return Progress.resume(key, finished=True)
        runs: list[StagedRun] = find_runs(self._store, self._bucket, keys)
        return Progress.resume(key, staged=[chunk for run in runs for chunk in run.chunks.items()])

    def write_run(self, key: GroupKey, chunks: Sequence[BufferedChunk]) -> None:
        """Step 3: make chunks durable."""
        run, body = encode_run(key, chunks)
        self._store.put_new(self._bucket, str(run), body)  # an existing object has the same bytes

    def write_intent(self, topic: str, marker: ImportEnded) -> Intent:
        """Step 4: make the merge durable."""
        key = intent_key(topic, marker.partition, marker.import_id, marker.attempt)
        self._store.put_new(self._bucket, key, CODEC.encode(marker))
        return Intent(key=key, marker=marker)

    def intents(self, topic: str, partition: Partition) -> list[Intent]:
        """The merges left to do. Raises `FatalError` STAGING_DAMAGED."""
        found = []
        for key in self._store.list_keys(self._bucket, intent_prefix(topic, partition)):
            body = self._store.get(self._bucket, key)
            if body is not None:  # else the previous owner has just finished the merge
                found.append(Intent(key=key, marker=stored_message(key, body, ImportEnded)))
        return found

    def result(self, key: GroupKey) -> bytes | None:
        """The stored announcement, encoded. None if staging was cleared after the import ended."""
        return self._store.get(self._bucket, result_key(key.import_id, key.attempt, key.partition))

    def remove(self, topic: str, abort: ImportAborted) -> None:
        """Remove runs, results and intents of the aborted attempt and earlier ones, in its partition."""
        for attempt in map(Attempt, range(1, abort.attempt + 1)):
            staged = self._store.list_keys(self._bucket, staging_prefix(abort.import_id, attempt, abort.partition))
            intent = intent_key(topic, abort.partition, abort.import_id, attempt)
            self._store.delete(self._bucket, [*staged, intent])
