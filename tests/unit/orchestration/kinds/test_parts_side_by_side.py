"""Partitions of a version that are built and read again side by side: the same version, whatever is lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.lake.build import PartsBuilt
from connectors.lake.sides import Overlap
from orchestration.catalog.records import Job
from orchestration.platform.settings import Secret
from schemas.errors import FatalError
from schemas.layout import is_staging_key
from segmentation.versions import PartsRead
from tests.fakes.deployment import PARTITIONS, Deployment, make_deployment


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    catalog = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
    made = make_deployment(catalog, tmp_path, monkeypatch, unit_bytes=1)
    monkeypatch.setattr("orchestration.kinds.parts.build_parts", merged)
    yield made
    made.context.database.close()


def merged(imported: Any, base: Any, partitions: Any, **_: Any) -> PartsBuilt:
    """All rows of the import are new, and take the place of those of the base."""
    kept = sum(part.rows for part in base.parts if part.partition in partitions)
    parts = tuple(part for part in imported.parts if part.partition in partitions)
    return PartsBuilt(parts=parts, overlap=Overlap(matched=kept, updated=0))


def registered(deployment: Deployment, mode: str) -> Job:
    return deployment.register(deployment.request(key=f"acme/vip/{mode}.csv", overrides={"mode": mode}, again=True))


def awaiting(deployment: Deployment, mode: str) -> Job:
    job = one_pass(deployment, registered(deployment, mode))
    deployment.materialise(job)
    return job


def one_pass(deployment: Deployment, job: Job) -> Job:
    deployment.step(job, "verify_file")
    deployment.step(job, "import_to_kafka")
    return deployment.context.jobs.get(job.job_id)


def stored(deployment: Deployment) -> list[str]:
    return [key for key in deployment.objects.keys("staging") if "/units/" in key]


def published(deployment: Deployment, job: Job, monkeypatch: pytest.MonkeyPatch) -> list[PartsRead]:
    """Publish; returns what of the groups was given to the store."""
    given: list[PartsRead] = []
    publish = deployment.context.versions.publish

    def listening(request: Any, on_rows: Any = None, *, read: Any = ()) -> Any:
        given.extend(read)
        return publish(request, on_rows, read=read)

    monkeypatch.setattr(deployment.context.versions, "publish", listening)
    deployment.step(job, "publish_version")
    return given


def test_parts_are_read_by_groups_and_published_once(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job = awaiting(deployment, "replace")
    view = deployment.step(job, "plan_parts")
    assert (view["state"], view["spread"]) == ("PUBLISHING", True)
    for _ in range(2):
        deployment.each_unit(job, view, "check_part", plan=view["plan"])
    assert all(map(is_staging_key, stored(deployment)))
    assert sum(len(one.parts) for one in published(deployment, job, monkeypatch)) == PARTITIONS
    assert (deployment.run(job).state, deployment.versions(job)) == ("READY", [1])


def test_parts_of_a_group_without_a_result_are_read_by_the_publisher(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = awaiting(deployment, "replace")
    view = deployment.step(job, "plan_parts")
    failure = {"Error": "States.Timeout", "Cause": ""}
    deployment.step(job, "check_part", number="0", plan=view["plan"])
    deployment.step(job, "fail_unit", number="1", plan=view["plan"], failure=failure)
    assert published(deployment, job, monkeypatch) == []
    assert deployment.versions(job) == [1]


def test_append_is_built_by_groups(deployment: Deployment) -> None:
    deployment.run(awaiting(deployment, "replace"))
    job = awaiting(deployment, "append")
    view = deployment.step(job, "plan_parts")
    assert (view["state"], view["spread"]) == ("BUILDING", True)
    items = json.loads(deployment.objects.get("staging", view["units"]["key"]))
    for item in reversed(items + items):
        deployment.step(job, "build_part", number=item["number"], plan=view["plan"])
    assert deployment.step(job, "gather_parts", plan=view["plan"])["state"] == "PUBLISHING"
    ended = deployment.run(job)
    assert (ended.state, deployment.versions(job)) == ("READY", [1, 2])


def test_first_fault_of_the_groups_fails_the_build(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.run(awaiting(deployment, "replace"))
    job = awaiting(deployment, "append")
    view = deployment.step(job, "plan_parts")

    def damaged(_imported: Any, _base: Any, partitions: Any, **_: Any) -> PartsBuilt:
        raise FatalError("LAKE_UNREADABLE", f"of {partitions[0]}")

    monkeypatch.setattr("orchestration.kinds.parts.build_parts", damaged)
    deployment.each_unit(job, view, "build_part", plan=view["plan"])
    with pytest.raises(Exception, match="of 0"):
        deployment.step(job, "gather_parts", plan=view["plan"])


def test_groups_on_a_base_that_has_moved_count_for_nothing(deployment: Deployment) -> None:
    deployment.run(awaiting(deployment, "replace"))
    job = awaiting(deployment, "append")
    view = deployment.step(job, "plan_parts")
    deployment.each_unit(job, view, "build_part", plan=view["plan"])
    deployment.run(awaiting(deployment, "replace"))
    assert deployment.step(job, "gather_parts", plan=view["plan"])["state"] == "BUILDING"
    assert deployment.step(job, "plan_parts")["plan"] != view["plan"]
    assert (deployment.run(job).state, deployment.versions(job)) == ("READY", [1, 2, 3])
