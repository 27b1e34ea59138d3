"""How the control plane counts partitions that workers refuse, and when it reads checkpoints at all."""

from pathlib import Path

import pytest

from orchestration.control.foreign_logs import ForeignLogs
from schemas.ids import Partition
from schemas.metrics import FOREIGN_LOG


def test_checkpoints_of_another_log_are_counted_until_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic_id, looks = "a", list[tuple[Partition, ...]]()
    answers = [(), (Partition(0), Partition(2)), (Partition(2),), ()]

    def refused() -> tuple[Partition, ...]:
        looks.append(answers[len(looks)])
        return looks[-1]

    def counted() -> list[float]:
        return [sample.value for sample in other_logs.samples() if sample.metric is FOREIGN_LOG]

    other_logs = ForeignLogs(lambda _: topic_id, refused)
    assert counted() == []
    other_logs.tick()
    other_logs.tick()  # the log is the same, and no partition was refused, so checkpoints are not read
    assert (counted(), len(looks)) == ([0], 1)
    topic_id = "b"
    other_logs.tick()
    assert counted() == [2]
    assert "OTHER_LOG: the checkpoints of partitions 0, 2" in caplog.text
    other_logs.tick()
    assert counted() == [1]
    other_logs.tick()
    other_logs.tick()
    assert (counted(), len(looks)) == ([0], 4)
