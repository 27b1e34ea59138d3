"""Keys in the object store: the only module that builds and parses them.

staging bucket   imports/<import>/<attempt>/<partition>/<first seq>-<last seq>-<content hash>.arrow     runs
                 imports/<import>/<attempt>/<partition>/result.avro                                     the announcement
                 imports/<import>/units-<content hash>.json                              the files of a set, pinned
                 imports/<import>/units/<plan|round-<n>|counted>.json    units that are read, read again, and count
                 imports/<import>/units/items-<n|sent>.json              the same for the workflow, by round
                 imports/<import>/units/<unit>.<json|rejects.parquet>    what verification saw in a unit
                 imports/<import>/units/bases-<chunk rule>.bin           rows and chunks before each unit
                 imports/<import>/units/<attempt>/<unit>.json            what a unit has sent in an attempt
                 intents/<topic>/<partition>/<import>-<attempt>.avro                                    merges to do
                 uploads/<tenant>/<audience>/<job>/<file>                                               local files
                 segments/checkpoints/<partition>/[era-<log epoch>-]<generation>-<changes>-<time>.npz   worker states
                 segments/cuts/<cut>/<partition>-<content hash>.parquet                      members of a snapshot
                 download/...                                                       exports that a client fetches
lake bucket      audiences/<tenant>/<audience id>/data/...parquet        parts of published versions (Iceberg data)
                 audiences/<tenant>/<audience id>/metadata/...           Iceberg metadata
                 audiences/<tenant>/<audience id>/dropped                tombstone of a deleted audience
                 rejects/<tenant>/<job>.parquet
                 files/<tenant>/<job>.parquet                             what each file of a set had
                 activity/<events|profiles>/data/<tenant>/<partition>/<first offset>-<end offset>-<content hash>.parquet
                 activity/<events|profiles>/users/<as below data/>       the users of such a file
                 activity/<events|profiles>/metadata/...                 Iceberg metadata of the archive
                 exports/...                                              exports
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from schemas.errors import UserError
from schemas.ids import JOB_ID_LENGTH, NAME_PATTERN, Attempt, JobId, Partition, Seq, TenantName
from schemas.topics import OWN_PREFIX

_RUN: Final = re.compile(
    r"imports/(?P<import_id>[0-9a-z]{26})/(?P<attempt>\d+)/(?P<partition>\d+)/(?P<first>\d+)-(?P<last>\d+)-(?P<hash>[0-9a-f]+)\.arrow"
)
_ARCHIVED: Final = re.compile(
    rf"activity/(?P<kind>events|profiles)/(?P<what>data|users)/(?P<tenant>{NAME_PATTERN.pattern})/(?P<partition>\d+)/"
    r"(?P<first>\d+)-(?P<end>\d+)-(?P<hash>[0-9a-f]+)\.parquet",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """Key of one staged run: chunks `first_seq`..`last_seq` (not necessarily all) of one partition of one attempt."""

    import_id: JobId
    attempt: Attempt
    partition: Partition
    first_seq: Seq
    last_seq: Seq
    content_hash: str

    def __str__(self) -> str:
        prefix = staging_prefix(self.import_id, self.attempt, self.partition)
        return f"{prefix}{self.first_seq:012d}-{self.last_seq:012d}-{self.content_hash}.arrow"

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The run of a key. None if the key is not that of a run."""
        if not (match := _RUN.fullmatch(key)):
            return None
        return cls(
            import_id=JobId(match["import_id"]),
            attempt=Attempt(int(match["attempt"])),
            partition=Partition(int(match["partition"])),
            first_seq=Seq(int(match["first"])),
            last_seq=Seq(int(match["last"])),
            content_hash=match["hash"],
        )


IMPORTS_PREFIX: Final = "imports/"
"""Prefix of staged data of imports."""

INTENTS_PREFIX: Final = "intents/"
"""Prefix of the pending merges of all partitions."""

UPLOADS_PREFIX: Final = "uploads/"
"""Prefix of local files uploaded by the CLI, which cause no inbox events."""

UPLOAD_PARTS: Final = 3
"""Parts of an uploaded file's key between that prefix and its name: tenant, audience, id."""

CUTS_PREFIX: Final = "segments/cuts/"
"""Prefix of consistent snapshots' members, which segment workers write; kept until their requester has read them."""

AUDIENCES_PREFIX: Final = "audiences/"
"""Prefix of the tables of all audiences, in the lake bucket."""

ACTIVITY_PREFIX: Final = "activity/"
"""Prefix of the tables of the archive, in the lake bucket."""

TOMBSTONE: Final = "dropped"
"""Name of the object that remains in place of a deleted audience's table."""

REJECTS_PREFIX: Final = "rejects/"
"""Prefix of the rejects of all jobs, in the lake bucket."""

FILES_PREFIX: Final = "files/"
"""Prefix of the tables of the files of all jobs that read several, in the lake bucket."""

CHECKPOINTS_PREFIX: Final = "segments/checkpoints/"
"""Prefix of segment workers' checkpoints."""

EXPORTS_PREFIX: Final = "exports/"
"""The only prefix of the lake bucket that exports may write to."""

DOWNLOADS_PREFIX: Final = "download/"
"""The only prefix of the staging bucket that exports may write to."""

_CHECKPOINT: Final = re.compile(
    rf"{CHECKPOINTS_PREFIX}\d{{5}}/(era-\d{{10}}-)?\d{{20}}-\d{{20}}-\d{{20}}\.npz", re.ASCII
)
_JOB: Final = rf"[0-9a-z]{{{JOB_ID_LENGTH}}}"
_STAGED: Final = re.compile(
    rf"{IMPORTS_PREFIX}{_JOB}/\d{{6}}/\d{{5}}/(result\.avro|\d{{12}}-\d{{12}}-[0-9a-f]+\.arrow)"
    rf"|{IMPORTS_PREFIX}{_JOB}/units-[0-9a-f]+\.json"
    rf"|{IMPORTS_PREFIX}{_JOB}/units/(plan\.json|counted\.json|(round|items)-\d+\.json|items-sent\.json|bases-\d+\.bin|(\d{{6}}/)?\d{{6}}\.json|\d{{6}}\.rejects\.parquet)"
    rf"|{IMPORTS_PREFIX}{_JOB}/units/(build|check)-[0-9a-f]{{16}}/(plan|items|\d{{6}})\.json"
    rf"|{INTENTS_PREFIX}[\w.-]+/\d{{5}}/{_JOB}-\d{{6}}\.avro"
    rf"|{UPLOADS_PREFIX}{NAME_PATTERN.pattern}/{NAME_PATTERN.pattern}/{_JOB}/.+"
    rf"|{CUTS_PREFIX}{_JOB}/\d{{5}}-[0-9a-f]+\.parquet"
    rf"|{DOWNLOADS_PREFIX}.+",
    re.ASCII | re.DOTALL,
)
_IN_LAKE: Final = re.compile(
    rf"{AUDIENCES_PREFIX}{NAME_PATTERN.pattern}/{_JOB}/((data|metadata)/.+|{TOMBSTONE})"
    rf"|({REJECTS_PREFIX}|{FILES_PREFIX}){NAME_PATTERN.pattern}/{_JOB}\.parquet"
    rf"|{ACTIVITY_PREFIX}(events|profiles)/(data|users|metadata)/.+"
    rf"|{EXPORTS_PREFIX}.+",
    re.ASCII | re.DOTALL,
)


def is_staging_key(key: str) -> bool:
    """True if Muster could have written this key to the staging bucket."""
    return _STAGED.fullmatch(key) is not None or is_checkpoint_key(key)


def is_lake_key(key: str) -> bool:
    """True if Muster could have written this key to the lake bucket."""
    return _IN_LAKE.fullmatch(key) is not None


def is_checkpoint_key(key: str) -> bool:
    """True if `checkpoint_key` could have built this key."""
    return _CHECKPOINT.fullmatch(key) is not None


def staging_prefix(import_id: JobId, attempt: Attempt | None = None, partition: Partition | None = None) -> str:
    """Prefix of staged data of an import, of one of its attempts, or of one partition of an attempt."""
    parts = [f"{IMPORTS_PREFIX}{import_id}/"]
    if attempt is not None:
        parts.append(f"{attempt:06d}/")
        if partition is not None:
            parts.append(f"{partition:05d}/")
    return "".join(parts)


def staged_import(key: str) -> JobId | None:
    """The import that a staged object belongs to. None if the key is not that of one."""
    owner = key.removeprefix(IMPORTS_PREFIX).partition("/")[0]
    return JobId(owner) if key.startswith(IMPORTS_PREFIX) and len(owner) == JOB_ID_LENGTH else None


def units_key(import_id: JobId, content_hash: str) -> str:
    """Key of the files that an import of several reads; a repeated registration cannot replace them."""
    return f"{staging_prefix(import_id)}units-{content_hash}.json"


def unit_plan_key(import_id: JobId) -> str:
    """Key of the units of an import that is read side by side; written once."""
    return f"{staging_prefix(import_id)}units/plan.json"


def unit_round_key(import_id: JobId, number: int) -> str:
    """Key of the units that are read again, in the round of that number from 1; written once."""
    return f"{staging_prefix(import_id)}units/round-{number}.json"


def unit_items_key(import_id: JobId, number: int | None = None) -> str:
    """Key of the units of a round (0: the planned ones) for the workflow, or of those that are sent: a JSON array."""
    return f"{staging_prefix(import_id)}units/items-{'sent' if number is None else number}.json"


def counted_units_key(import_id: JobId) -> str:
    """Key of the units that count, in order, once all were verified."""
    return f"{staging_prefix(import_id)}units/counted.json"


def unit_key(import_id: JobId, unit: int) -> str:
    """Key of what verification saw in a unit; written once."""
    return f"{staging_prefix(import_id)}units/{unit:06d}.json"


def unit_bases_key(import_id: JobId, chunk_rule: int) -> str:
    """Key of the rows and chunks before each unit, as counted by that version of the rule."""
    return f"{staging_prefix(import_id)}units/bases-{chunk_rule}.bin"


def unit_sent_key(import_id: JobId, attempt: Attempt, unit: int) -> str:
    """Key of what a unit has sent in an attempt; written once."""
    return f"{staging_prefix(import_id)}units/{attempt:06d}/{unit:06d}.json"


def unit_rejects_key(import_id: JobId, unit: int) -> str:
    """Key of the rejects of a unit."""
    return f"{staging_prefix(import_id)}units/{unit:06d}.rejects.parquet"


def parts_plan_key(import_id: JobId, plan: str) -> str:
    """Key of the partitions of a version that are built or checked side by side; written once."""
    return f"{staging_prefix(import_id)}units/{plan}/plan.json"


def parts_items_key(import_id: JobId, plan: str) -> str:
    """Key of the same for the workflow: a JSON array with an object per group of partitions."""
    return f"{staging_prefix(import_id)}units/{plan}/items.json"


def parts_key(import_id: JobId, plan: str, group: int) -> str:
    """Key of what building or checking a group of partitions has shown; written once."""
    return f"{staging_prefix(import_id)}units/{plan}/{group:06d}.json"


def uploaded(key: str) -> JobId | None:
    """The upload that an object in the staging bucket belongs to. None if the key is not that of one."""
    owner = key.removeprefix(UPLOADS_PREFIX).split("/")
    return JobId(owner[2]) if key.startswith(UPLOADS_PREFIX) and len(owner) > UPLOAD_PARTS else None


def result_key(import_id: JobId, attempt: Attempt, partition: Partition) -> str:
    """Key of the stored announcement of a finished partition, from which a worker can repeat it."""
    return staging_prefix(import_id, attempt, partition) + "result.avro"


def intent_prefix(topic: str, partition: Partition) -> str:
    """Prefix of the merges that the owner of a partition has yet to do."""
    return f"{INTENTS_PREFIX}{topic}/{partition:05d}/"


def intent_key(topic: str, partition: Partition, import_id: JobId, attempt: Attempt) -> str:
    """Key of a partition's end marker, kept until its merge is done."""
    return f"{intent_prefix(topic, partition)}{import_id}-{attempt:06d}.avro"


def audience_prefix(tenant: TenantName, audience_id: JobId) -> str:
    """Prefix of all objects of one audience in the lake bucket (the Iceberg table location)."""
    return f"{AUDIENCES_PREFIX}{tenant}/{audience_id}/"


def data_prefix(bucket: str, tenant: TenantName, audience_id: JobId) -> str:
    """URI prefix of an audience's parts: s3://lake/audiences/<tenant>/<id>/data/."""
    return s3_uri(bucket, audience_prefix(tenant, audience_id) + "data/")


def part_name(import_id: JobId, attempt: Attempt, partition: Partition, content_hash: str) -> str:
    """Content-addressed name of a sorted part, below the `data_prefix` of its audience."""
    return f"{import_id}-{attempt:06d}-p{partition:05d}-{content_hash}.parquet"


def part_import(key: str) -> JobId:
    """The import or operation that a part's name begins with; for other objects, a value that is no import's id."""
    return JobId(key.rpartition("/")[2][:JOB_ID_LENGTH])


def rejects_key(tenant: TenantName, job_id: JobId) -> str:
    """Key of a job's rejects."""
    return f"{REJECTS_PREFIX}{tenant}/{job_id}.parquet"


def files_key(tenant: TenantName, job_id: JobId) -> str:
    """Key of the table of a job's files, if it reads several."""
    return f"{FILES_PREFIX}{tenant}/{job_id}.parquet"


def activity_prefix(topic: str) -> str:
    """Prefix of the archive of one of `ACTIVITY_TOPICS` in the lake bucket (the Iceberg table location)."""
    return f"{ACTIVITY_PREFIX}{topic.removeprefix(OWN_PREFIX)}/"


def archived_users_prefix(topic: str, tenant: TenantName | None = None, partition: Partition | None = None) -> str:
    """Prefix of the archive's files of users: of all, of a tenant, or of a partition of a tenant."""
    prefix = f"{activity_prefix(topic)}users/"
    if tenant is None:
        return prefix
    return f"{prefix}{tenant}/" if partition is None else f"{prefix}{tenant}/{partition:05d}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveKey:
    """Key of one archive file: rows of one tenant, of the records `first_offset`..`end_offset` - 1."""

    topic: str
    tenant: TenantName
    partition: Partition
    first_offset: int
    end_offset: int
    content_hash: str

    def __str__(self) -> str:
        name = f"{self.first_offset:020d}-{self.end_offset:020d}-{self.content_hash}.parquet"
        return f"{activity_prefix(self.topic)}data/{self.tenant}/{self.partition:05d}/{name}"

    @property
    def users_key(self) -> str:
        """Key of the file of its users, each once."""
        return str(self).replace("/data/", "/users/", 1)

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The file of a key. None if the key is not that of one."""
        return cls._parse(key, "data")

    @classmethod
    def parse_users(cls, key: str) -> Self | None:
        """The file whose users are stored under a key. None if the key is not that of such users."""
        return cls._parse(key, "users")

    @classmethod
    def _parse(cls, key: str, what: str) -> Self | None:
        match = _ARCHIVED.fullmatch(key)
        if match is None or match["what"] != what:
            return None
        return cls(
            topic=OWN_PREFIX + match["kind"],
            tenant=TenantName(match["tenant"]),
            partition=Partition(int(match["partition"])),
            first_offset=int(match["first"]),
            end_offset=int(match["end"]),
            content_hash=match["hash"],
        )


def s3_uri(bucket: str, key: str) -> str:
    """`s3://bucket/key`."""
    return f"s3://{bucket}/{key}"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """(bucket, key) of an S3 URI. Raises `UserError` BAD_URI."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UserError("BAD_URI", f"{uri[:200]!r} is not of the form s3://bucket/key", uri=uri[:200])
    return bucket, key


def checkpoint_prefix(partition: Partition) -> str:
    """Prefix of a partition's checkpoints, in the staging bucket."""
    return f"{CHECKPOINTS_PREFIX}{partition:05d}/"


def checkpoint_key(partition: Partition, generation: int, changes: int, at_us: int, log_epoch: int = 0) -> str:
    """Key of a checkpoint; keys sort by log epoch, then by owner, then by age."""
    of_epoch = f"era-{log_epoch:010d}-" if log_epoch else ""  # generations may restart at 0
    return f"{checkpoint_prefix(partition)}{of_epoch}{generation:020d}-{changes:020d}-{at_us:020d}.npz"


def cut_prefix(cut_id: JobId) -> str:
    """Prefix of the members of a consistent snapshot, in the staging bucket."""
    return f"{CUTS_PREFIX}{cut_id}/"


def cut_key(cut_id: JobId, partition: Partition, content_hash: str) -> str:
    """Key of a consistent snapshot's members in one partition; distinct for two owners that both took it."""
    return f"{cut_prefix(cut_id)}{partition:05d}-{content_hash}.parquet"
