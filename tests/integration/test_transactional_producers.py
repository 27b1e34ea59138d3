"""Events and profiles of transactional producers on a real broker: committed ones count, aborted ones do not.

The workers are compared with the rule on the archive (`muster segments check`), and both with plain counts.
"""

import pytest

from orchestration.platform.settings import Settings
from tests.conftest import StartStack
from tests.integration.transactional_shop import (
    USERS,
    TransactionalShop,
    assert_all_acknowledged,
    assert_waits,
    in_transaction,
)
from tests.integration.workers import Workers
from tests.waiting import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("workers that end between and within transactions; test_segments.py has one journey"),
]

P = 2


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """Everything but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=P)


@pytest.fixture
def shop(settings: Settings) -> TransactionalShop:
    return TransactionalShop(settings)


@pytest.mark.timeout(600)
def test_only_committed_transactions_count(settings: Settings, workers: Workers, shop: TransactionalShop) -> None:
    one, two = shop.producer("one"), shop.producer("two")
    shop.order(shop.plain, USERS[:30])
    assert shop.plain.flush(30) == 0
    shop.order(in_transaction(one), USERS[10:])
    shop.age(one, USERS[:20], 30)
    one.commit_transaction(30)
    workers.start("a")
    shop.assert_exact()  # a log that was read from its beginning, and ends in markers
    assert_all_acknowledged(settings)

    shop.interleave(one, two, turns=20)
    shop.assert_exact()
    shop.abort(one, times=5)
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert workers.restarts == 0


@pytest.mark.timeout(600)
def test_workers_ending_between_transactions_lose_and_duplicate_nothing(
    settings: Settings, workers: Workers, shop: TransactionalShop
) -> None:
    one = shop.producer("one")
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    for n in range(3):
        shop.order(in_transaction(one), USERS[n:30])
        one.commit_transaction(30)
        shop.order(in_transaction(one), USERS, counts=False)
        assert one.flush(30) == 0
        one.abort_transaction(30)
        shop.age(in_transaction(one), USERS[: 10 + n], 20 + n)
        one.commit_transaction(30)
        if n != 1:
            shop.assert_exact()
            assert_all_acknowledged(settings)  # the next worker begins after markers ...
        until(lambda n=n: workers.log("a").count("assigned partitions") > n)  # type: ignore[misc]  # at once
        assert workers.stop("a") == 0  # ... or before them
        shop.order(in_transaction(one), USERS[5:15])
        one.commit_transaction(30)
        workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert "from a checkpoint" in workers.log("a")
    assert workers.restarts == 0


@pytest.mark.timeout(600)
def test_records_after_an_open_transaction_wait_for_its_end(
    settings: Settings, workers: Workers, shop: TransactionalShop
) -> None:
    one = shop.producer("one")
    shop.order(shop.plain, USERS)
    shop.age(shop.plain, USERS, 20)  # nothing is ever committed for a log without records
    assert shop.plain.flush(30) == 0
    workers.start("a")
    shop.assert_exact()
    shop.order(in_transaction(one), USERS)
    assert one.flush(30) == 0
    shop.order(shop.plain, USERS[:7])
    assert shop.plain.flush(30) == 0
    assert_waits(shop)
    workers.stop("a")
    workers.start("a")
    until(lambda: "partition 1: generation" in workers.log("a").rpartition("assigned partitions")[2])
    assert_waits(shop)
    one.commit_transaction(30)
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert workers.restarts == 0
