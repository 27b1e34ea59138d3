# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""Where moto's error handling differs from AWS: 11, 15, 17, 19, 20 and 23 of `stepfunctions_patches`."""

import json
from typing import Any, Final

from orchestration.local.engine.moto_parts import PARSER, module, replace_everywhere

TERMINAL: Final = frozenset({"States.DataLimitExceeded", "States.Runtime"})
"""Errors that match only by name, never by wildcard."""
DATA_MAX_BYTES: Final = 256 * 1024
"""Limit for the input and the result of a state, as JSON in UTF-8."""


def install() -> None:
    """Apply the patches."""
    _wildcards()
    _default_timeout()
    _no_choice_matched()
    _catch_loop()
    _data_limit()
    _joined_limit()


def matches(names: frozenset[str], error: str) -> bool:
    """Whether ErrorEquals `names` matches an error. States.TaskFailed is every error but a timeout."""
    if error in names:
        return True
    if error in TERMINAL:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def _wildcards() -> None:
    declaration = module(PARSER + "asl.component.common.error_name.error_equals_decl").ErrorEqualsDecl

    def evaluate(self: Any, env: Any) -> None:
        error = env.stack.pop()
        env.stack.append(matches(frozenset(n.error_name for n in self.error_names), error.error_name))

    declaration._eval_body = evaluate


def _default_timeout() -> None:
    state = module(PARSER + "asl.component.state.exec.execute_state").ExecutionState
    timeouts = module(PARSER + "asl.component.common.timeouts.timeout")
    read = state.from_state_props

    def from_state_props(self: Any, state_props: Any) -> None:
        read(self, state_props)
        if state_props.get(timeouts.Timeout) is None:
            self.timeout = timeouts.TimeoutSeconds(timeouts.TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS, is_default=True)

    state.from_state_props = from_state_props


def _no_choice_matched() -> None:
    state = module(PARSER + "asl.component.state.choice.state_choice").StateChoice
    common = PARSER + "asl.component.common.error_name."
    failure, names = module(common + "failure_event"), module(common + "states_error_name_type").StatesErrorNameType
    error_name = module(common + "states_error_name").StatesErrorName
    detail = module(PARSER + "asl.eval.event.event_detail")
    evaluate = state._eval_state

    def evaluate_or_fail(self: Any, env: Any) -> None:
        depth = len(env.stack)
        try:
            evaluate(self, env)
        except RuntimeError as exc:
            if (
                self.default_state is not None
                or len(env.stack) != depth
                or isinstance(exc, failure.FailureEventException)
            ):
                raise
            raise failure.FailureEventException(
                failure.FailureEvent(
                    env=env,
                    error_name=error_name(typ=names.StatesNoChoiceMatched),
                    event_type="ExecutionFailed",
                    event_details=detail.EventDetails(
                        executionFailedEventDetails={
                            "error": names.StatesNoChoiceMatched.to_name(),
                            "cause": f"No choice matched in state '{self.name}'",
                        }
                    ),
                )
            ) from exc

    state._eval_state = evaluate_or_fail


def _catch_loop() -> None:
    state = module(PARSER + "asl.component.state.exec.execute_state").ExecutionState
    caught = module(PARSER + "asl.component.common.catch.catch_outcome").CatchOutcome.Caught
    set_next = state._set_next

    def set_next_unless_caught(self: Any, env: Any) -> None:
        if not env.stack or env.stack[-1] is not caught:  # otherwise the catcher has set it
            set_next(self, env)

    state._set_next = set_next_unless_caught


def within_limit(value: Any) -> bool:
    """Whether AWS accepts a result of this size for a state."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    return len(text.encode("utf-8", "surrogatepass")) <= DATA_MAX_BYTES


def _data_limit() -> None:
    module(PARSER + "asl.component.state.exec.state_task.service.state_task_service")
    replace_everywhere("is_within_size_quota", module(PARSER + "quotas").is_within_size_quota, within_limit)


def _joined_limit() -> None:
    kinds = PARSER + "asl.component.state.exec."
    for state in (
        module(kinds + "state_map.state_map").StateMap,
        module(kinds + "state_parallel.state_parallel").StateParallel,
    ):
        _limit_result(state)


def _limit_result(state: Any) -> None:
    execute = state._eval_execution

    def execute_within_limit(self: Any, env: Any) -> None:
        execute(self, env)
        self._verify_size_quota(env=env, value=env.stack[-1])

    state._eval_execution = execute_within_limit
