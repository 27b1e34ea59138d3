"""States that need no function: data, choices, times, the output of the execution."""

import pytest

from tests.engine.support import Engine

pytestmark = pytest.mark.integration


def test_pass_and_choice_follow_the_data(engine: Engine) -> None:
    states = {
        "Set": {"Type": "Pass", "Result": {"rows": [{"n": 5}]}, "ResultPath": "$.set", "Next": "Choose"},
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.set.rows[0].n", "NumericGreaterThan": 3, "Next": "Big"}],
            "Default": "Small",
        },
        "Big": {"Type": "Pass", "Parameters": {"n.$": "$.set.rows[0].n", "all.$": "$.set.rows[*].n"}, "End": True},
        "Small": {"Type": "Fail"},
    }

    assert engine.run(states)["output"] == {"n": 5, "all": [5]}


def test_whole_execution_times_out(engine: Engine) -> None:
    ended = engine.run({"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}, TimeoutSeconds=1)

    assert ended["status"] == "TIMED_OUT"


def test_a_string_is_valid_json_as_output(engine: Engine) -> None:
    assert engine.run({"Say": {"Type": "Pass", "Result": "done", "End": True}})["output"] == "done"
