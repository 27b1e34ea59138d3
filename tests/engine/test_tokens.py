"""Task tokens: answers, heartbeats, and answers that come too early or too late."""

import time
from pathlib import Path

import pytest

from tests.engine.support import Engine, text_of
from tests.waiting import until

pytestmark = pytest.mark.integration


def test_slow_state_is_states_timeout(engine: Engine, tmp_path: Path) -> None:
    states = {
        "Wait": engine.wait_for_token(
            tmp_path / "token", TimeoutSeconds=1, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Late"}], End=True
        ),
        "Late": {"Type": "Pass", "Result": "late", "End": True},
    }

    assert engine.run(states)["output"] == "late"


def test_an_answer_to_a_task_token_is_the_result_of_the_state(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=30, End=True)})
    token = until(lambda: text_of(file))

    engine.sfn.send_task_heartbeat(taskToken=token)
    engine.sfn.send_task_success(taskToken=token, output='{"members": 42}')

    assert engine.finish(execution)["output"] == {"members": 42}


def test_heartbeats_keep_a_waiting_state_alive_past_its_heartbeat_time(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=10, End=True)})
    token = until(lambda: text_of(file))

    # longer than the heartbeat time, yet a machine that stalls for seconds does not count as silence
    for _ in range(12):
        time.sleep(1)
        engine.sfn.send_task_heartbeat(taskToken=token)
    engine.sfn.send_task_success(taskToken=token, output="1")

    assert engine.finish(execution)["output"] == 1


def test_a_waiting_state_without_heartbeat_times_out(engine: Engine, tmp_path: Path) -> None:
    states = {
        "Wait": engine.wait_for_token(
            tmp_path / "token",
            HeartbeatSeconds=1,
            TimeoutSeconds=60,
            # AWS has used both names for it, so portable definitions catch both.
            Catch=[{"ErrorEquals": ["States.HeartbeatTimeout", "States.Timeout"], "Next": "Silent"}],
            End=True,
        ),
        "Silent": {"Type": "Pass", "Result": "silent", "End": True},
    }

    assert engine.run(states)["output"] == "silent"


def test_a_failure_sent_for_a_token_keeps_its_error_and_cause(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=30, End=True)})
    token = until(lambda: text_of(file))

    engine.sfn.send_task_failure(taskToken=token, error="MaterialisationFailed", cause='{"partition": 3}')

    ended = engine.finish(execution)
    assert (ended["error"], ended["cause"]) == ("MaterialisationFailed", '{"partition": 3}')


@pytest.mark.parametrize("heartbeat", [{}, {"HeartbeatSeconds": 5}])
def test_early_answer_is_not_lost(engine: Engine, tmp_path: Path, heartbeat: dict[str, int]) -> None:
    state = engine.wait_for_token(tmp_path / "token", answer_first=True, TimeoutSeconds=30, End=True, **heartbeat)

    assert engine.run({"Wait": state})["output"] == {"early": True}


def test_token_of_an_ended_execution_is_refused(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, End=True)})
    token = until(lambda: text_of(file))
    engine.sfn.stop_execution(executionArn=execution)
    engine.finish(execution)

    with pytest.raises((engine.sfn.exceptions.InvalidToken, engine.sfn.exceptions.TaskTimedOut)):
        engine.sfn.send_task_success(taskToken=token, output="1")
