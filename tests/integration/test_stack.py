"""The embedded stack as a user meets it: up, down, restarts, kill -9, taken ports."""

import pytest

from orchestration.local import stack as local_stack
from orchestration.local.kafka.topics import topic_differences
from orchestration.local.seaweedfs import missing_buckets
from orchestration.settings import Settings

pytestmark = pytest.mark.integration


def test_kafka_and_s3_come_up_with_their_topics_and_buckets(stack: Settings) -> None:
    assert topic_differences(stack) == ()
    assert missing_buckets(stack) == ()


def test_a_second_up_changes_nothing(stack: Settings) -> None:
    before = local_stack.status(stack)

    local_stack.up(stack.home)

    assert local_stack.status(stack) == before
    assert before.ready
    assert [p.name for p in before.parts] == ["s3", "kafka"]
