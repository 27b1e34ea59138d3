"""Topics lost and recreated beside an intact lake, on a real broker with real workers."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.platform.settings import Settings
from schemas.ids import Partition
from schemas.layout import checkpoint_prefix
from schemas.topics import ACTIVITY_TOPICS, MEMBERSHIP_CHANGES, TOPICS
from tests.conftest import StartStack
from tests.e2e.conftest import command_line
from tests.integration.segment_shop import Members, Shop, assert_followed, recreate, sizes
from tests.integration.workers import Workers, s3
from tests.waiting import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.faults("workers that start repeatedly while topics are recreated; test_segments.py does it once"),
]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """Everything but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay", "api"), partitions=4)


def muster(settings: Settings, *arguments: str) -> Any:
    """Output of the command as JSON."""
    done = subprocess.run(
        command_line([*arguments, "--json"]),
        env=os.environ | settings.environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def checkpoints(settings: Settings, partition: int) -> list[str]:
    prefix = checkpoint_prefix(Partition(partition))
    found = s3(settings).list_objects_v2(Bucket=settings.staging_bucket, Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", ())]


def all_checkpoints(settings: Settings) -> dict[int, list[str]]:
    return {partition: checkpoints(settings, partition) for partition in range(settings.partitions)}


def run_and_stop(settings: Settings, workers: Workers, shop: Shop, expected: Members) -> None:
    """Run a worker until its archive and its checkpoints have everything that was sent, then stop it."""
    kept = all_checkpoints(settings)
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    stop_once_followed(settings, workers, shop, expected, kept)


def stop_once_followed(
    settings: Settings, workers: Workers, shop: Shop, expected: Members, kept: Mapping[int, list[str]]
) -> None:
    assert_followed(shop, expected)
    shop.archived()
    until(lambda: all((now := checkpoints(settings, p)) and now != kept[p] for p in kept))
    assert workers.stop("a") == 0


def begin(settings: Settings) -> Any:
    asked = muster(settings, "segments", "rebase", "--dry-run")
    begun = muster(settings, "segments", "rebase", "--yes")
    assert (asked["needed"], asked["begun"], begun["begun"]) == (True, False, True)
    assert muster(settings, "segments", "rebase", "--yes")["needed"] is False
    return begun


def assert_equal(settings: Settings, shop: Shop, expected: Members) -> None:
    for name, users in expected.items():
        checked = muster(settings, "segments", "check", name, "-t", shop.tenant)
        assert (checked["equal"], checked["by_rule"]) == (True, len(users))


def test_recreated_topics_are_refused_until_a_rebase_and_nothing_is_lost(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.create("calm", "never(refund)")
    shop.send(600)
    before = {"buyers": shop.ordered(2), "calm": shop.known - shop.refunded}
    run_and_stop(settings, workers, shop, before)
    ended = shop.archived()
    recreate(settings, ACTIVITY_TOPICS)
    shop.send(300)
    workers.start("b", MUSTER_SEGMENT_CHECKPOINT_S="1")
    until(lambda: "TOPIC_REPLACED" in workers.log("b"))
    assert "muster segments rebase" in workers.log("b")
    begun = begin(settings)  # while the worker ends and restarts again and again
    assert (begun["era"], [topic["replaced"] for topic in begun["topics"]]) == (1, [True, True])
    shop.send(300)
    after = {"buyers": shop.ordered(2), "calm": shop.known - shop.refunded}
    assert_followed(shop, after)  # for a consumer that has read all changes from the beginning
    assert_equal(settings, shop, after)
    assert shop.archived() > ended
    (entry,) = [one for one in shop.context.audit.search() if one.action == "segments rebase"][:1]
    assert entry.error is None


def test_checkpoint_of_another_log_of_changes_continues_after_a_rebase(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.send(600)
    before = {"buyers": shop.ordered(2)}
    run_and_stop(settings, workers, shop, before)
    recreate(settings, [MEMBERSHIP_CHANGES])
    workers.start("b", MUSTER_SEGMENT_CHECKPOINT_S="1")
    until(lambda: "OTHER_LOG" in workers.log("b"))
    begun = begin(settings)
    assert begun["checkpoints_of_another_log"]
    assert [topic["replaced"] for topic in begun["topics"]] == [False, False]
    assert_goes_on(settings, shop, before)


def test_whole_kafka_can_be_recreated_beside_an_intact_lake(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.create("calm", "never(refund)")
    shop.context.segments.pause(shop.tenant, "calm", now_ms=1)  # type: ignore[arg-type]
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    # A worker that finds records at its start may evaluate them before it learns that "calm" is paused.
    until(lambda: shop.paused("calm"))
    kept = all_checkpoints(settings)
    shop.send(600)
    before = {"buyers": shop.ordered(2)}
    stop_once_followed(settings, workers, shop, before, kept)
    recreate(settings, [topic.name for topic in TOPICS])
    workers.start("b", MUSTER_SEGMENT_CHECKPOINT_S="1")
    until(lambda: "TOPIC_REPLACED" in workers.log("b"))
    begin(settings)
    assert_goes_on(settings, shop, before)


def assert_goes_on(settings: Settings, shop: Shop, before: Members) -> None:
    """A consumer that knows the former members, and reads the new change log, knows the members."""
    shop.send(600)
    after = {"buyers": shop.ordered(2)}
    until(lambda: +shop.counted() == sizes(after))
    assert_equal(settings, shop, after)
    assert shop.followed() == {"buyers": after["buyers"] - before["buyers"]}
    shop.archived()
