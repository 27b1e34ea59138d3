"""Bugs in importing, publishing and everything else: each is a function that puts the bug into the product."""

import sys
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa

from orchestration.catalog.tables import duplicates, jobs
from segmentation.life_cycle import Change
from tests.mutation.patches import Patches

# --- the importer ----------------------------------------------------------------------------------------------------


def unpinned_object(patches: Patches) -> None:
    """The object is read in its current version, not in the one that was registered."""

    def make(_: Any) -> Any:
        def open_(self: Any, at: int) -> None:
            self.close()
            answer = self._client.get_object(
                Bucket=self.source.bucket, Key=self.source.key, Range=f"bytes={at}-{self._end - 1}"
            )
            self._body, self._at = answer["Body"], at

        return open_

    patches.replace("connectors.storage.pinned:PinnedBody._open", make)


def fence_ignored(patches: Patches) -> None:
    """An importer does not check whether its attempt is still the current one."""
    patches.replace("orchestration.kinds.send:CatalogFence.check", lambda _: lambda _self: None)


def markers_before_acks(patches: Patches) -> None:
    """End markers are sent while chunks are still under way."""

    def make(original: Any) -> Any:
        def await_acknowledgements(self: Any) -> None:
            if getattr(self, "asked", False):
                original(self)
            self.asked = True

        return await_acknowledgements

    patches.replace("connectors.publishing.sending:Sender.await_acknowledgements", make)


def unregistered_twin(patches: Patches) -> None:
    """An event that is delivered twice makes two jobs."""
    patches.replace("orchestration.catalog.registration:_claim_holder", lambda _: lambda *_args: None)


def duplicate_comes_to_life(patches: Patches) -> None:
    """A request answered as a duplicate becomes a job when it is repeated later (found by the simulator, and fixed)."""

    def make(original: Any) -> Any:
        def register(database: Any, new: Any, **more: Any) -> Any:
            mine = duplicates.c.job_id == new.job_id
            with database.write() as connection:
                kept = connection.execute(sa.select(duplicates).where(mine)).mappings().first()
                connection.execute(duplicates.delete().where(mine))
            registered = original(database, new, **more)
            with database.write() as connection:
                connection.execute(duplicates.delete().where(mine))
                if kept is not None:
                    connection.execute(duplicates.insert().values(**kept))
            return registered

        return register

    patches.replace("orchestration.catalog.registration:_register", make)


def late_attempt(patches: Patches) -> None:
    """A new attempt begins whatever state the job is in."""

    def make(original: Any) -> Any:
        def start_attempt(self: Any, job_id: Any, *, after: Any, now_ms: int, **values: Any) -> Any:
            with self._database.write() as connection:
                connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(state="IMPORTING"))
            return original(self, job_id, after=after, now_ms=now_ms, **values)

        return start_attempt

    patches.replace("orchestration.catalog.jobs:JobStore.start_attempt", make)


# --- publishing ------------------------------------------------------------------------------------------------------


def no_guard(patches: Patches) -> None:
    """A publish checks neither the order of imports nor the base that the version was built on."""

    def make(_: Any) -> Any:
        def decide(history: Any, request: Any) -> Any:
            from segmentation.publishing import already_published  # noqa: PLC0415

            mine = history.find_import(request.import_id)
            return None if mine is None else already_published(mine)

        return decide

    patches.replace("segmentation.publishing:decide", make)


def own_commit_unknown(patches: Patches) -> None:
    """A publisher does not recognise its own commit if the answer was lost."""
    patches.replace("segmentation.publishing:VersionHistory.find_import", lambda _: lambda _self, _import_id: None)


def unconditional_commit(patches: Patches) -> None:
    """After a conflict, the same commit is repeated on the newer table without asking the rules again."""

    def make(original: Any) -> Any:
        def commit_version(tables: Any, audience: Any, plan: Any, schema: Any, sleep: Any) -> Any:
            planned: list[Any] = []

            def once(history: Any) -> Any:
                step = planned[0] if planned else plan(history)
                planned[:] = [step]
                if hasattr(step, "info"):
                    return replace(step, info=replace(step.info, version=history.next_version))
                return step

            return original(tables, audience, once, schema, sleep)

        return commit_version

    patches.replace("connectors.lake.commit:commit_version", make)


def rollback_unmarked(patches: Patches) -> None:
    """A rollback does not supersede: a publisher that slept through it publishes the older file."""

    def make(original: Any) -> Any:
        class Unmarked(original):  # type: ignore[misc]
            def __init__(self, **values: Any) -> None:
                super().__init__(**values | ({"mark": None} if values.get("source") is not None else {}))

        return Unmarked

    patches.replace("connectors.lake.store:VersionChange", make)


def cancel_while_publishing(patches: Patches) -> None:
    """A job can be cancelled while its version is being committed."""

    def make(original: Any) -> Any:
        def change(self: Any, current: str, wanted: str) -> Change:
            if (current, wanted) == ("PUBLISHING", "CANCELLED"):
                return Change.APPLIED
            return cast(Change, original(self, current, wanted))

        return change

    patches.replace("segmentation.life_cycle:LifeCycle.change", make)


def ends_early(patches: Patches) -> None:
    """The maximum age of a job is within the error of clocks, so that clock skew ends it early."""
    patches.replace("orchestration.control.reconciler:MAX_JOB_AGE_S", lambda _: 300)


def wrong_duplicates(patches: Patches) -> None:
    """The receipt says that there are no duplicates, and its sums are not checked."""

    def make(original: Any) -> Any:
        def make_receipt(*args: Any, **more: Any) -> Any:
            return {**original(*args, **more), "duplicates": 0}

        return make_receipt

    patches.replace("orchestration.kinds.receipts:make_receipt", make)


# --- the other promises ----------------------------------------------------------------------------------------------


def one_row_off(patches: Patches) -> None:
    """A rejected row is reported with the number of the next line."""

    def make(original: Any) -> Any:
        def rejects(self: Any) -> Any:
            return [replace(reject, line=reject.line + 1) for reject in original(self)]

        return rejects

    patches.replace("connectors.sources.rejects:RejectBatch.rejects", make)


def pins_ignored(patches: Patches) -> None:
    """Expiry removes pinned versions."""

    def make(original: Any) -> Any:
        return lambda versions, **more: original(versions, **more | {"pins": frozenset()})

    patches.replace("segmentation.publishing:expired_versions", make)


def checks_bytes_only(patches: Patches) -> None:
    """The receiver's check of an export compares sizes, not the content of the files."""

    def make(_: Any) -> Any:
        def check_file(_manifest: Any, file: Any, path: Any, _limits: Any) -> Any:
            from connectors.sinks.checking import Difference  # noqa: PLC0415

            size = path.stat().st_size
            if size != file.bytes:
                return Difference(key=file.key, what="bytes", expected=file.bytes, found=size)
            return None

        return check_file

    patches.replace("connectors.sinks.checking:_check_file", make)


def one_event_too_many(patches: Patches) -> None:
    """The stream counts "at least N" as "more than N"; the batch does not."""

    def make(original: Any) -> Any:
        return lambda self, count, some: original(self, replace(count, times=count.times + 1), some)

    patches.replace("segmentation.evaluation.answers:Answers._count", make)


def past_taken_for_complete(patches: Patches) -> None:
    """A new rule takes the events that are kept for all there are, though its window reaches further back."""

    def make(original: Any) -> Any:
        return lambda state, kind, keep, _: original(state, kind, keep, sys.maxsize)

    patches.replace("segmentation.evaluation.succession:_keeps_enough", make)
