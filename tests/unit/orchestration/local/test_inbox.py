"""The bridge from the inbox to the workflow: nothing forgotten, nothing started twice by one engine."""

from pathlib import Path

import pytest

from orchestration.local.engine.inbox import InboxBridge, InboxJournal
from orchestration.local.engine.s3_events import ObjectCreated


def upload(name: str) -> ObjectCreated:
    return ObjectCreated(bucket="inbox", key=name, size=1, etag="e", version_id=f"v-{name}", sequencer="1")


class Workflow:
    """Starts executions, some of which have registered a job, or have ended without one."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.registered: set[str] = set()
        self.failed: set[str] = set()
        self.refused: set[str] = set()

    def put(self, event: ObjectCreated) -> list[str]:
        if event.key in self.refused:
            raise ConnectionError
        self.started.append(event.key)
        return [event.key]

    def answer(self, arn: str) -> bool | None:
        return True if arn in self.registered else False if arn in self.failed else None


def bridge(path: Path, workflow: Workflow, *, bucket: tuple[ObjectCreated, ...] = ()) -> InboxBridge:
    return InboxBridge(
        InboxJournal(path / "inbox.db"),
        put=workflow.put,
        is_registered=workflow.answer,
        listing=lambda: bucket,
    )


def test_announced_and_listed_object_starts_once(tmp_path: Path) -> None:
    workflow = Workflow()
    one = bridge(tmp_path, workflow, bucket=(upload("a"),))

    assert one.offer(upload("a")) is True
    assert one.sweep() == 0

    assert workflow.started == ["a"]


def test_unannounced_object_is_found_by_the_sweep(tmp_path: Path) -> None:
    workflow = Workflow()

    assert bridge(tmp_path, workflow, bucket=(upload("a"), upload("b"))).sweep() == 2

    assert workflow.started == ["a", "b"]


def test_execution_lost_before_its_registration_is_started_again(tmp_path: Path) -> None:
    workflow = Workflow()
    workflow.registered = {"a"}
    first = bridge(tmp_path, workflow)
    first.offer(upload("a"))
    first.offer(upload("b"))
    first.record_registered()

    bridge(tmp_path, workflow, bucket=(upload("a"), upload("b"))).sweep()

    assert workflow.started == ["a", "b", "b"]


def test_an_object_whose_execution_ended_without_a_job_is_offered_again(tmp_path: Path) -> None:
    workflow = Workflow()
    one = bridge(tmp_path, workflow, bucket=(upload("a"), upload("b")))
    one.sweep()
    one.record_registered()
    assert one.sweep() == 0  # both are still running

    workflow.failed, workflow.registered = {"a"}, {"b"}
    one.record_registered()

    assert one.sweep() == 1
    assert workflow.started == ["a", "b", "a"]


def test_an_object_that_could_not_be_started_is_offered_again(tmp_path: Path) -> None:
    workflow = Workflow()
    workflow.refused = {"a"}
    one = bridge(tmp_path, workflow, bucket=(upload("a"),))
    with pytest.raises(ConnectionError):
        one.offer(upload("a"))

    workflow.refused = set()

    assert one.sweep() == 1


def test_an_object_that_cannot_be_started_does_not_keep_others_waiting(tmp_path: Path) -> None:
    workflow = Workflow()
    one = bridge(tmp_path, workflow, bucket=(upload("a"), upload("b")))
    workflow.refused = {"a"}

    with pytest.raises(ConnectionError):
        one.sweep()

    assert workflow.started == ["b"]
    workflow.refused = set()
    assert one.sweep() == 1


def test_an_object_that_nothing_takes_yet_is_offered_again(tmp_path: Path) -> None:
    workflow = Workflow()
    one = InboxBridge(
        InboxJournal(tmp_path / "inbox.db"), put=lambda _: [], is_registered=workflow.answer, listing=lambda: ()
    )

    with pytest.raises(ConnectionError, match="no state machine takes inbox/a yet"):
        one.offer(upload("a"))
    one.record_registered()

    assert bridge(tmp_path, workflow, bucket=(upload("a"),)).sweep() == 1


def test_an_object_is_not_recorded_while_it_is_being_offered(tmp_path: Path) -> None:
    workflow = Workflow()

    def put(event: ObjectCreated) -> list[str]:
        one.record_registered()
        return workflow.put(event)

    one = InboxBridge(InboxJournal(tmp_path / "inbox.db"), put=put, is_registered=workflow.answer, listing=lambda: ())
    one.offer(upload("a"))

    assert bridge(tmp_path, workflow, bucket=(upload("a"),)).sweep() == 1
