"""Features that a state machine uses, by name, to compare the suite with the shipped definitions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

NOT_A_FEATURE = {"Comment", "Type"}
BOOLEAN = {"And", "Or", "Not"}
INTRINSIC = re.compile(r"States\.\w+(?=\()")
CONTEXT = re.compile(r"\$\$\.[\w.]+")
AWS_ERROR = re.compile(r"^(States|Lambda|Sandbox|AmazonECS|ECS)\.\w+$")
RUN_TASK = ":ecs:runTask"
CHOSEN = {"LaunchType", "AssignPublicIp", "Resource", "InputType"}
"""Parameters of RunTask and ItemReader with an enumerated value: each value is a separate feature."""


def features(machine: Mapping[str, Any]) -> set[str]:
    """Every state type, field, operator, intrinsic, context path, integration and AWS error name in a definition."""
    found = {f"machine {field}" for field in machine if field not in NOT_A_FEATURE}
    for state in machine["States"].values():
        found |= set(_of_state(state))
    for name, state in machine["States"].items():
        if any(catch["Next"] == name for catch in state.get("Catch", ())):
            found.add("Catch that leads to its own state")
    return found


def _of_state(state: Mapping[str, Any]) -> Iterator[str]:
    kind = state["Type"]
    yield f"state {kind}"
    for field, value in state.items():
        if field in NOT_A_FEATURE:
            continue
        yield f"{kind} {field}" + (" null" if value is None else "")
        if field == "Resource":
            yield f"integration {value}"
        elif field == "ItemReader" or (field == "Parameters" and RUN_TASK in state.get("Resource", "")):
            yield from (f"{field if field == 'ItemReader' else 'runTask'} {name}" for name in _parameters(value))
            yield from _of_text(value)
        elif field in {"Retry", "Catch"}:
            for entry in value:
                yield from (f"{field} {name}" for name in entry if name not in NOT_A_FEATURE)
                yield from (f"{field} error {name}" for name in entry["ErrorEquals"] if AWS_ERROR.match(name))
        elif field == "Choices":
            for rule in value:
                yield from _of_rule(rule)
        elif field in {"ItemProcessor", "Iterator"}:
            yield f"Map mode {value.get('ProcessorConfig', {}).get('Mode', 'INLINE')}"
            yield from features({"StartAt": "", "States": value["States"]})
        elif field == "Branches":
            for branch in value:
                yield from features({"StartAt": "", "States": branch["States"]})
        else:
            yield from _of_text(value)


def _of_rule(rule: Mapping[str, Any]) -> Iterator[str]:
    for name, value in rule.items():
        if name in BOOLEAN:
            yield f"Choice {name}"
            for inner in value if isinstance(value, list) else [value]:
                yield from _of_rule(inner)
        elif name not in {"Variable", "Next", "Comment"}:
            yield f"Choice {name}"


def _parameters(value: Any, path: str = "") -> Iterator[str]:
    """Names of parameters; nested ones after a dot."""
    for inner in value if isinstance(value, list) else ():
        yield from _parameters(inner, path)
    if isinstance(value, dict):
        for name, inner in value.items():
            plain = name.removesuffix(".$")
            yield f"{path}{plain}" + (f" {inner}" if plain in CHOSEN else "")
            yield from _parameters(inner, f"{path}{plain}.")


def _of_text(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _of_text(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_text(inner)
    elif isinstance(value, str):
        yield from (f"intrinsic {name}" for name in INTRINSIC.findall(value))
        yield from (f"context {name}" for name in CONTEXT.findall(value))
