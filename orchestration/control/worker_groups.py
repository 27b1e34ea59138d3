"""The consumer groups that the control plane watches. Its tasks share them: each has connections and threads."""

from dataclasses import dataclass
from typing import Self

from connectors.kafka.worker_group import WorkerGroup
from orchestration.platform.settings import Settings
from schemas.topics import ACTIVITY_TOPICS, ARCHIVE, ARCHIVE_GROUP, IMPORT_TOPICS, SEGMENT_WORKER_GROUP, WORKER_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroups:
    """Workers of imports, those of segments, and the control plane itself as the archive's committer."""

    imports: WorkerGroup
    activity: WorkerGroup
    archive: WorkerGroup

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Connects at the first question."""
        bootstrap, partitions = settings.kafka_bootstrap, settings.partitions
        return cls(
            imports=WorkerGroup(bootstrap, partitions, name=WORKER_GROUP, topics=IMPORT_TOPICS),
            activity=WorkerGroup(bootstrap, partitions, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS),
            archive=WorkerGroup(bootstrap, 1, name=ARCHIVE_GROUP, topics=(ARCHIVE,)),
        )
