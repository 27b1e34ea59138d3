import pytest

from orchestration.quoting.pace import backpressure_s, seconds, workers_seconds
from tests.unit.orchestration.quoting.figures import stage


@pytest.mark.parametrize(
    ("vcpu", "expected"),
    [
        (2, 1.0),  # as measured: 2 us of processor time in 1 us are two cores
        (1, 2.0),
        (0.5, 4.0),
        (16, 1.0),  # more cores than the stage kept busy make it no faster
    ],
)
def test_a_stage_takes_longer_with_fewer_cores_and_never_less_than_measured(vcpu: float, expected: float) -> None:
    assert seconds(stage(1, 2), 1_000_000, vcpu) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("partitions", "workers", "expected"),
    [
        (8, 1, 8.0),
        (8, 2, 4.0),
        (8, 3, 3.0),  # one worker has three of eight partitions
        (8, 8, 1.0),
        (8, 9, 1.0),  # the ninth worker has nothing to do
        (1, 4, 8.0),
    ],
)
def test_the_worker_with_the_most_partitions_is_the_last(partitions: int, workers: int, expected: float) -> None:
    found = workers_seconds(stage(8, 4), 1_000_000, partitions=partitions, workers=workers, vcpu=2)
    assert found == pytest.approx(expected)


def test_an_importer_waits_for_workers_only_beyond_its_backlog() -> None:
    assert backpressure_s(100.0, 10_000, 2_500) == pytest.approx(75.0)
    assert backpressure_s(100.0, 10_000, 10_000) == 0.0
    assert backpressure_s(100.0, 10_000, 20_000) == 0.0
    assert backpressure_s(0.0, 0, 20_000) == 0.0
