"""The state machine as a file: linted, and every name in it exists."""

import importlib
import json
import re
import tomllib
from importlib.resources import files
from typing import Any

from statelint.config import Config
from statelint.linter import Linter

from orchestration.relay.answers import HEARTBEAT_MS
from orchestration.steps.timeouts import timeouts

WORKFLOW = files("orchestration.workflow")
ASL = WORKFLOW.joinpath("import_audience.asl.json").read_text(encoding="utf-8")
MACHINE: dict[str, Any] = json.loads(ASL)
FUNCTIONS: dict[str, dict[str, Any]] = tomllib.loads(WORKFLOW.joinpath("functions.toml").read_text(encoding="utf-8"))
GOOD_TO_KNOW = {"TaskCluster", "TaskDefinition"}


def test_the_state_machine_passes_the_linter() -> None:
    assert Linter.validate(ASL, Config()) == []


def test_the_linter_finds_a_state_that_leads_nowhere() -> None:
    broken = ASL.replace('"StartAt": "RegisterImport"', '"StartAt": "Nowhere"')
    assert Linter.validate(broken, Config()) != []


def test_every_function_of_the_state_machine_is_declared_and_every_declared_one_is_used() -> None:
    named = set(re.findall(r"\$\{(\w+)\}", ASL))
    assert named - GOOD_TO_KNOW == {f"{name}Function" for name in FUNCTIONS}


def test_every_declared_handler_can_be_imported_and_takes_event_and_context() -> None:
    for name, function in FUNCTIONS.items():
        module, _, attribute = function["handler"].rpartition(".")
        handler = getattr(importlib.import_module(module), attribute)
        assert handler.__wrapped__.__code__.co_argcount == 2, name


def test_user_errors_are_never_retried_and_always_caught_after_registration() -> None:
    for name, state in MACHINE["States"].items():
        if state["Type"] != "Task":
            continue
        first = state["Retry"][0]
        assert "UserError" in first["ErrorEquals"], name
        assert first["MaxAttempts"] == 0, name
        work = name not in {"RegisterImport", "ExtractCause"} and not name.startswith(("Mark", "Notify"))
        if work:
            caught = {error: catch["Next"] for catch in state["Catch"] for error in catch["ErrorEquals"]}
            assert caught["UserError"] == "ExtractCause", name
            assert caught["States.ALL"] == "MarkSystemFailure", name


def test_route_knows_every_state_of_a_job() -> None:
    routed = {choice["StringEquals"] for choice in MACHINE["States"]["Route"]["Choices"]}
    assert routed == {
        "DUPLICATE",
        "REGISTERED",
        "VERIFYING",
        "IMPORTING",
        "AWAITING",
        "BUILDING",
        "PUBLISHING",
        "READY",
        "SUPERSEDED",
        "CANCELLED",
    }
    assert MACHINE["States"]["Route"]["Default"] == "AlreadyFailed"


def test_system_errors_are_retried_with_backoff_and_jitter_in_every_state() -> None:
    for name, state in MACHINE["States"].items():
        if state["Type"] == "Task":
            last = state["Retry"][-1]
            assert last["ErrorEquals"] == ["States.ALL"], name
            assert (last["BackoffRate"], last["JitterStrategy"]) == (2.0, "FULL"), name
            assert last["MaxAttempts"] >= 3, name
            assert last["MaxDelaySeconds"] <= 60, name


def test_what_depends_on_the_file_has_a_timeout_that_the_view_gives() -> None:
    works = {
        "VerifyFile": "verify_s",
        "ImportToKafka": "import_s",
        "BuildVersion": "build_s",
        "PublishVersion": "publish_s",
    }
    assert set(works.values()) == set(timeouts(0))
    for work, given in works.items():
        paths = {MACHINE["States"][n]["TimeoutSecondsPath"] for n in (work, f"{work}Task") if n in MACHINE["States"]}
        assert paths == {f"$.timeouts.{given}"}, work


def test_waiting_for_a_turn_ends_only_with_the_execution() -> None:
    turn = MACHINE["States"]["AwaitTurn"]
    assert turn["Resource"].endswith(".waitForTaskToken")
    assert (turn["TimeoutSeconds"], "HeartbeatSeconds" in turn) == (MACHINE["TimeoutSeconds"], False)


def test_the_wait_for_materialisation_has_a_heartbeat_well_above_the_relays() -> None:
    state = MACHINE["States"]["AwaitMaterialisation"]
    assert state["Resource"].endswith(".waitForTaskToken")
    assert state["HeartbeatSeconds"] * 1000 >= 10 * HEARTBEAT_MS
