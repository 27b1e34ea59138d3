"""The services behind the API and the console: neither DuckDB nor pyiceberg, which readers load for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from connectors.storage.multipart import Parts
from connectors.storage.presigned import Presigner
from orchestration.composition.process import Part, Process
from orchestration.operations.version_histories import VersionHistories
from orchestration.platform.budget import DAY_S, Budget
from orchestration.platform.object_store import public_s3_access
from orchestration.readers.background import Background
from orchestration.readers.sql import SqlRunner
from orchestration.readers.starting import readers_of

if TYPE_CHECKING:
    from orchestration.readers.pool import Readers


@dataclass(frozen=True)
class Services(Process):
    """What views read and change. Nothing is connected, and boto3 not loaded, before the first use."""

    closable: ClassVar[Sequence[str]] = ("readers", "background", "database")

    @Part
    def histories(self) -> VersionHistories:
        """Published versions, read without the lake's libraries."""
        return VersionHistories(database=self.database, bucket=self.settings.lake_bucket, objects=lambda: self.objects)

    @property
    def current_versions(self) -> VersionHistories:
        """As `histories`."""
        return self.histories

    @Part
    def presigner(self) -> Presigner:
        """Signs requests that clients send to the object store themselves."""
        return Presigner(public_s3_access(self.settings))

    @Part
    def parts(self) -> Parts:
        """Uploads in parts."""
        return Parts(self.s3)

    @Part
    def readers(self) -> "Readers":
        """Processes that answer what needs DuckDB, pyiceberg or Kafka."""
        return readers_of(self.settings)

    @Part
    def background(self) -> Background:
        """Operations that readers carry out."""
        return Background(self.operations, self.readers)

    @Part
    def sql(self) -> SqlRunner:
        """Queries of analysts."""
        return SqlRunner.of(self.settings, self.readers)

    @Part
    def count_budget(self) -> Budget:
        """How many users principals may count in a day."""
        return Budget(per_s=self.settings.counts_per_day / DAY_S, burst=self.settings.counts_per_day)

    @property
    def partitions(self) -> int:
        """P of the topics of events and profiles."""
        return self.settings.partitions

    def check(self) -> None:
        """Raises `RetriableError` CATALOG_UNAVAILABLE if the catalog does not answer."""
        self.audiences.tenant_page(limit=1)

    def version(self) -> object:
        """As `Database.version`."""
        return self.database.version()
