"""Changes of the lake that the service was asked for: carried out once, whatever dies in between."""

from itertools import count
from typing import Any

import pytest

from orchestration.catalog.operations import Operation, OperationStore
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.composition import control_plane
from orchestration.platform.clock import now_ms
from orchestration.records.operations import OperationKind
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import AudienceName, JobId, Version, new_job_id
from tests.fakes.deployment import ACME, Deployment

MILLISECONDS = count(1)
"""The ids of one millisecond have no order."""


@pytest.fixture
def audience(deployment: Deployment) -> Audience:
    """With two versions."""
    job = deployment.run(deployment.register())
    deployment.run(deployment.uploaded("acme/vip/second.csv"))
    found = deployment.context.audiences.get(ACME, job.audience)
    assert versions(deployment, found) == [1, 2]
    return found


def versions(deployment: Deployment, audience: Audience) -> list[int]:
    return [int(one.version) for one in deployment.context.versions.versions(ref_of(audience))]


def ask(deployment: Deployment, of: Audience, kind: OperationKind, /, **request: Any) -> JobId:
    at_ms = next(MILLISECONDS)
    new = Operation(
        operation_id=new_job_id(at_ms, bytes(10)),
        tenant=of.tenant,
        kind=kind,
        action="read",
        audience_id=of.audience_id,
        audience=of.name,
        request=request,
        created_at_ms=at_ms,
    )
    deployment.context.operations.add(new)
    deployment.context.operations.add(new)
    return new.operation_id


def carry_out(deployment: Deployment) -> bool:
    return control_plane.lake_operations(deployment.context).tick(now_ms())


def outcome(deployment: Deployment, operation_id: JobId) -> Operation:
    return deployment.context.operations.get(ACME, operation_id)


def test_rollback_publishes_once_after_its_first_run_dies(
    deployment: Deployment, audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(deployment, audience, "rollback", version=1, reason="x")

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OperationStore, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            carry_out(deployment)
    assert outcome(deployment, asked).state == "pending"
    assert not carry_out(deployment)
    done = outcome(deployment, asked)
    assert (done.state, done.result and done.result["version"]) == ("done", 3)
    assert versions(deployment, audience) == [1, 2, 3]
    assert deployment.context.versions.version(ref_of(audience), Version(3)).import_id == asked


def test_interrupted_rename_and_delete_are_completed(deployment: Deployment, audience: Audience) -> None:
    context = deployment.context
    asked = ask(deployment, audience, "rename", audience="gold")
    context.versions.rename(ref_of(audience), AudienceName("gold"))  # and died before the catalog knew
    carry_out(deployment)
    assert outcome(deployment, asked).state == "done"
    assert context.audiences.get(ACME, AudienceName("gold")).audience_id == audience.audience_id
    said_nothing = ask(deployment, audience, "rename", audience="gold")
    carry_out(deployment)
    assert outcome(deployment, said_nothing).state == "done"
    context.audiences.delete(audience.audience_id)
    deleted, renamed = ask(deployment, audience, "delete"), ask(deployment, audience, "rename", audience="x")
    carry_out(deployment)
    assert outcome(deployment, deleted).state == "done"
    refused = outcome(deployment, renamed)
    assert (refused.state, refused.error and refused.error["code"]) == ("failed", "AUDIENCE_DELETED")


def test_an_audience_is_renamed_expired_and_deleted(deployment: Deployment, audience: Audience) -> None:
    asked = [
        ask(deployment, audience, "rename", audience="gold"),
        ask(deployment, audience, "expire", versions=1, days=0),
        ask(deployment, audience, "delete"),
    ]
    carry_out(deployment)
    assert [outcome(deployment, one).state for one in asked] == ["done"] * 3
    assert deployment.context.audiences.by_id(audience.audience_id) is None
    actions = [entry.action for entry in deployment.context.audit.search() if entry.actor.startswith("operation")]
    assert sorted(actions) == ["audiences delete", "audiences expire", "audiences rename"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RetriableError("LAKE_UNAVAILABLE", "x"), "pending"),
        (RetriableError("VERSION_MOVED", "x"), "failed"),
        (UserError("NO_SUCH_VERSION", "x"), "failed"),
        (FatalError("LAKE_MISMATCH", "x"), "failed"),
    ],
)
def test_outage_leaves_an_operation_pending_and_refusal_ends_it(
    deployment: Deployment, audience: Audience, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    asked = ask(deployment, audience, "rollback", version=1, reason="")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(type(deployment.context.versions), "rollback", fail)
        assert carry_out(deployment) == (state == "pending")
    assert outcome(deployment, asked).state == state
    carry_out(deployment)
    assert outcome(deployment, asked).state == ("done" if state == "pending" else "failed")
