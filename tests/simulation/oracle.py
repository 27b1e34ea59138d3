"""Invariants that must hold after every step, computed from what the simulator knows and not from the product.

The oracle uses plain sets and lists. It knows the users and upload time of each object, what people asked for, and
which messages the log was made to lose. It looks at what a reader could see: versions, their files, receipts, states of
jobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import sqlalchemy as sa

from connectors.kafka.log_offsets import PartitionKey
from orchestration.catalog.tables import jobs, partition_progress, receipts
from schemas.codec import CODEC
from schemas.ids import Attempt, JobId, Partition, Version
from schemas.layout import RunKey, result_key, split_s3_uri, staging_prefix
from schemas.messages import ImportAborted, ImportEnded, PartitionFailed, PartitionMaterialised, UserChunk
from segmentation.versions import AudienceRef, Part, VersionInfo
from tests.simulation.building import read_parquet
from tests.simulation.stores import Stored

if TYPE_CHECKING:
    from tests.simulation.world import World

EXCUSED: Final = frozenset(
    {
        # An outage that lasted longer than the retries of a state.
        *("STORE_UNAVAILABLE", "S3_UNAVAILABLE", "KAFKA_UNAVAILABLE", "CATALOG_UNAVAILABLE", "LAKE_UNAVAILABLE"),
        *("PUBLISH_CONFLICT", "States.TaskFailed", "States.Timeout", "NO_HEARTBEAT"),
        *("Lambda.SdkClientException", "RetriableError", "TOO_MANY_ATTEMPTS"),
        # From boto3, when a step sends something to the engine.
        "EndpointConnectionError",
        "NOTHING_TO_REMOVE_FROM",
    }
)
"""Error codes of jobs that may end in FAILED when faults took place."""


class Violation(AssertionError):  # noqa: N818  # what it is, no error of ours
    """An invariant does not hold."""


@dataclass
class Made:
    """A version as it was when committed."""

    info: VersionInfo
    members: frozenset[str]
    order: int  # when its object was written, or its rollback began, in ms


@dataclass
class Oracle:
    """The simulated servers call it at every change that a reader could see."""

    world: "World"
    made: dict[JobId, list[Made]] = field(default_factory=dict)
    read: dict[JobId, int] = field(default_factory=dict)
    files: set[tuple[str, str]] = field(default_factory=set)  # of visible versions
    announced: dict[tuple[JobId, Attempt, Partition], Stored | None] = field(default_factory=dict)
    """The result as it was staged when it was announced the last time."""
    rollbacks: set[str] = field(default_factory=set)  # reasons of completed rollbacks: when each was asked for

    # --- versions ----------------------------------------------------------------------------------------------------

    def committed(self, audience: AudienceRef, info: VersionInfo, parts: tuple[Part, ...]) -> None:
        """A version has become visible: it must contain the whole of one import, and be the next version."""
        before = self.made.setdefault(audience.audience_id, [])
        self.require(info.version == len(before) + 1, f"version {info.version} follows {len(before)}")
        self.require(all(m.info.import_id != info.import_id for m in before), f"{info.import_id} is published twice")
        members = self._members(parts)
        base = before[-1].members if before else frozenset()
        if info.mode == "rollback":
            assert info.source_version is not None
            expected, order = before[info.source_version - 1].members, int(info.order_key.partition("/")[0])
            asked, now = int(info.reason), self.world.kernel.now_us // 1000
            self.require(
                asked <= order <= now, f"a rollback of {order} was asked for at {asked} and committed at {now}"
            )
        else:
            job = self._job(info.import_id)
            self.require(job["state"] == "PUBLISHING", f"a version of {info.import_id}, which is {job['state']}")
            users = self.world.users_of(job["source"])
            expected = {"replace": users, "append": base | users, "remove": base - users}[info.mode]
            order = self.world.modified_ms(job["source"])
            if info.mode == "replace":
                newer = [m.info.version for m in before if m.order > order]
                self.require(not newer, f"a replace of {order} is published after versions {newer}, which are newer")
        lost, foreign = sorted(expected - members), sorted(members - expected)
        self.require(not lost, f"version {info.version} ({info.mode}) has lost {lost}")
        self.require(not foreign, f"version {info.version} ({info.mode}) has foreign members {foreign}")
        self.require(info.members == len(members), f"{info.members} members are announced, there are {len(members)}")
        for sleeper in self.world.publishing(audience, besides=info.import_id):
            kind = (
                "rollback while a publisher slept"
                if info.mode == "rollback"
                else "version committed while a publisher slept"
            )
            self.world.faults.saw(kind, f"{kind}: {sleeper}")
        before.append(Made(info, members, order))
        self.files |= {split_s3_uri(part.uri) for part in parts}

    def _members(self, parts: Iterable[Part]) -> frozenset[str]:
        members: list[str] = []
        for part in parts:
            found = self.world.store.find(*split_s3_uri(part.uri))
            if found is None:
                self.object(f"the file {part.uri} of a visible version is not there")
            members += read_parquet(found.body).column("user_id").to_pylist()
        self.require(len(members) == len(set(members)), f"a member is twice in {sorted(members)}")
        return frozenset(members)

    def deleted(self, bucket: str, key: str) -> None:
        """An object was deleted: it must not belong to a visible version."""
        self.require((bucket, key) not in self.files, f"{bucket}/{key} of a visible version was deleted")

    def looked(self, audience_id: JobId, number: Version | None) -> None:
        """A reader saw this version as the current one."""
        seen = self.read.get(audience_id, 0)
        self.require((number or 0) >= seen, f"a reader saw version {seen} and then {number}")
        self.read[audience_id] = number or 0

    # --- the log -----------------------------------------------------------------------------------------------------

    def appended(self, place: PartitionKey, value: bytes) -> None:
        """A message was appended: workers must not report a complete partition as broken."""
        message = CODEC.decode(value)
        if isinstance(message, ImportEnded):
            self._ended_whole(place, message)
        if isinstance(message, PartitionMaterialised):
            self._materialised(message)
        if not isinstance(message, PartitionFailed):
            return
        if self._job(message.import_id)["state"] not in {"IMPORTING", "AWAITING"}:
            return  # staging may have been cleared since the job ended, and the report is ignored
        for topic in self.world.group.topics:
            fault = self._whole(topic, message.import_id, message.attempt, message.partition, message.reason)
            if fault is not None:
                self.object(fault)

    def _materialised(self, message: PartitionMaterialised) -> None:
        """Count the ways to a part."""
        group = (message.import_id, message.attempt, message.partition)
        if group in self.announced:
            self.world.faults.saw("announced again")
        elif message.part is not None:
            runs = [key for key in self.world.store.keys("staging", staging_prefix(*group)) if RunKey.parse(key)]
            self.world.faults.saw("merged from staging" if runs else "merged without staging")
        self.announced[group] = self.world.store.find("staging", result_key(*group))

    def _ended_whole(self, place: PartitionKey, marker: ImportEnded) -> None:
        """An end marker must come after everything that it counts, except for what the log was made to lose."""
        lost = [value for where, value in self.world.broker.lost if where == place]
        messages: list[Any] = [CODEC.decode(value) for value in (*self.world.broker.log(*place), *lost)]
        group = (marker.import_id, marker.attempt)
        seqs = {m.seq for m in messages if isinstance(m, UserChunk) and (m.import_id, m.attempt) == group}
        self.require(seqs >= set(range(marker.chunks)), f"the end marker of {group} came before its chunks")

    def _whole(self, topic: str, job_id: JobId, attempt: int, partition: int, reason: str) -> str | None:
        """Why it is wrong to call a partition of an attempt broken. None if it is broken or was aborted."""
        seqs: set[int] = set()
        for value in self.world.broker.log(topic, partition):
            message = CODEC.decode(value)
            if (message.import_id, message.attempt) != (job_id, attempt):  # type: ignore[union-attr]
                continue
            if isinstance(message, UserChunk):
                seqs.add(message.seq)
            elif isinstance(message, ImportAborted):
                return None
            elif isinstance(message, ImportEnded):
                if seqs != set(range(message.chunks)):
                    return None
                return (
                    f"{job_id} attempt {attempt} partition {partition} is reported as broken ({reason}), but its "
                    f"{message.chunks} chunks are in the log"
                )
        return None

    # --- the end -----------------------------------------------------------------------------------------------------

    def finished(self) -> None:
        """Faults have ceased and everything has come to rest: every job must have ended, and for a valid reason."""
        with self.world.catalog.look() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(jobs)).mappings()]
            records = {r.job_id: r.record for r in connection.execute(sa.select(receipts))}
            reported = [dict(row) for row in connection.execute(sa.select(partition_progress)).mappings()]
        published = {m.info.import_id: m for made in self.made.values() for m in made}
        for row in reported:
            self._check_notification(row)
        for row in rows:
            self._ended(row, published, records.get(row["job_id"]))
        for group, result in self.announced.items():  # `gc.orphans` removes what a worker stages and never announces
            left = result is not None and self.world.store.find("staging", result_key(*group)) is result
            self.require(not left, f"the result of {group} was announced, and is still staged")
        lost = self.rollbacks - {m.info.reason for m in published.values()}
        self.require(not lost, f"rollbacks were done and are not there: {sorted(lost)}")

    def _ended(self, row: dict[str, Any], published: dict[JobId, Made], receipt: dict[str, Any] | None) -> None:
        name, state = f"job {row['job_id']}", row["state"]
        version = published.get(row["job_id"])
        match state:
            case "READY":
                self.require(version is not None, f"{name} is READY and has no version")
                self._receipt(row, version, receipt)
            case "SUPERSEDED":
                order = self.world.modified_ms(row["source"])
                newer = [m for m in self.made[row["audience_id"]] if m.order >= order]
                self.require(bool(newer), f"{name} is superseded by nothing newer")
                self.world.faults.saw("superseded")
            case "CANCELLED":
                self.require(row["job_id"] in self.world.asked_to_end, f"{name} was cancelled, without a request")
            case "FAILED":
                self._failed(name, row)
            case _:
                self.object(f"{name} is {state} for ever")
        if state != "READY":
            self.require(version is None, f"{name} is {state} and has a version")

    def _failed(self, name: str, row: dict[str, Any]) -> None:
        code = row["error"]["code"]
        text = f"{name} has failed with {code}: {row['error']['message']}"
        if code in {"SOURCE_CHANGED", "SOURCE_GONE"}:
            changed = self.world.overwritten(row["source"])
            self.require(changed, f"{text}, but the pinned version is still there")
        elif code == "EMPTY_FILE":
            self.require(not self.world.users_of(row["source"]), text)
        elif code == "NOT_RECONCILED":
            lossy = row["attempt"] in self._lossy(row["job_id"])
            self.require(lossy, f"{text}, but no message of its last attempt was lost")
        else:
            self.require(code in EXCUSED, text)
            self.require(bool(self.world.faults.struck) or code == "NOTHING_TO_REMOVE_FROM", f"{text}, without a fault")

    def _lossy(self, job_id: JobId) -> set[int]:
        """Attempts of a job that lost messages in the log."""
        messages: list[Any] = [CODEC.decode(value) for _, value in self.world.broker.lost]
        return {m.attempt for m in messages if m.import_id == job_id}

    def _check_notification(self, row: dict[str, Any]) -> None:
        """A decision about a partition: it must not be called broken if its chunks and end marker are in the log."""
        record = row["record"]
        if row["materialised"] or "without seeing it" not in record["reason"]:
            return
        for topic in self.world.group.topics:
            fault = self._whole(topic, row["job_id"], row["attempt"], row["partition"], record["reason"])
            self.require(fault is None, fault or "")

    def _receipt(self, row: dict[str, Any], version: Made | None, receipt: dict[str, Any] | None) -> None:
        assert version is not None
        name = f"the receipt of {row['job_id']}"
        if receipt is None:
            self.object(f"{name} is missing")
        rows = self.world.rows_of(row["source"])
        index = version.info.version - 1
        base = self.made[row["audience_id"]][index - 1].members if index else frozenset()
        stated = {
            k: receipt[k] for k in ("rows", "accepted", "rejected", "duplicates", "distinct", "members", "version")
        }
        counted = {
            "rows": len(rows),
            "accepted": len(rows),
            "rejected": 0,
            "duplicates": len(rows) - len(set(rows)),
            "distinct": len(set(rows)),
            "members": len(version.members),
            "version": version.info.version,
        }
        self.require(stated == counted, f"{name} says {stated}, counted are {counted}")
        self.require(sum(p["records"] for p in receipt["partitions"]) == len(rows), f"{name}: partitions do not add up")
        if (counts := receipt["membership"]) is not None:
            right = {
                "base": len(base),
                "added": len(version.members - base),
                "removed": len(base - version.members),
                "kept": len(base & version.members),
            }
            self.require({k: counts[k] for k in right} == right, f"{name} says {counts}, counted are {right}")

    def _job(self, job_id: JobId) -> dict[str, Any]:
        with self.world.catalog.look() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).mappings().first()
        if row is None:
            self.object(f"{job_id} is no job")
        return dict(row)

    def require(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001
        """Raise `Violation` unless the condition holds."""
        if not holds:
            self.object(otherwise)

    def object(self, text: str) -> NoReturn:
        """Raise `Violation`, and end the schedule with it even if the code in between catches it."""
        violation = Violation(text)
        self.world.kernel.error = self.world.kernel.error or violation
        raise violation
