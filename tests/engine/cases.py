"""The Amazon States Language: a minimal state machine for each feature, with the outcome that AWS documents.

For a rule that the specification (states-language.net/spec.html) leaves open, a comment names the source:
EH is the page "Handling errors in Step Functions workflows" of AWS's developer guide, IO "Processing input and output".
"""

from tests.engine.building import Case, caught, choice, invoke
from tests.engine.tables import DATA, INTRINSICS, RULES

LIMIT = "States.DataLimitExceeded"
BIG = 256 * 1024 - 2  # a JSON string of this many characters has 262,144 bytes
REFUSED = {"Error": "UserError", "CauseHas": "EMPTY_FILE: the file has no rows"}

CASES: tuple[Case, ...] = (
    *(
        Case(name=f"choice {rule} of {value!r}", states=choice(rule), data={"a": value}, output=output)
        for rule, value, output in RULES
    ),
    *(
        Case(
            name=f"intrinsic {text}",
            states={"Do": {"Type": "Pass", "Parameters": {"r.$": text}, "OutputPath": "$.r", "End": True}},
            data=DATA,
            output=output,
        )
        for text, output in INTRINSICS
    ),
    Case(
        name="the first choice that matches is taken",
        states={
            "Ask": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.a", "NumericGreaterThan": 0, "Next": "First"},
                    {"Variable": "$.a", "NumericGreaterThan": 1, "Next": "Second"},
                ],
            },
            "First": {"Type": "Pass", "Result": 1, "End": True},
            "Second": {"Type": "Pass", "Result": 2, "End": True},
        },
        data={"a": 5},
        output=1,
    ),
    Case(
        name="a choice without match and default is States.NoChoiceMatched",
        states={
            "Ask": {"Type": "Choice", "Choices": [{"Variable": "$.a", "NumericEquals": 1, "Next": "Done"}]},
            "Done": {"Type": "Succeed"},
        },
        data={"a": 2},
        status="FAILED",
        error="States.NoChoiceMatched",
    ),
    Case(
        name="InputPath, Parameters, ResultSelector, ResultPath and OutputPath, in this order",
        states={
            "Call": invoke(
                "Echo",
                {"in.$": "$.k", "fixed": 1},
                InputPath="$.o",
                ResultSelector={"got.$": "$.Payload.event"},
                ResultPath="$.result",
                OutputPath="$.result.got",
            )
        },
        data={"o": {"k": 7}, "other": 1},
        output={"in": 7, "fixed": 1},
    ),
    Case(
        name="ResultPath puts the result into the raw input, not into what InputPath selected",  # IO
        states={
            "Set": {"Type": "Pass", "InputPath": "$.o", "Result": 5, "ResultPath": "$.new.deep", "Next": "Done"},
            "Done": {"Type": "Succeed"},
        },
        data={"o": {"k": 7}},
        output={"o": {"k": 7}, "new": {"deep": 5}},
    ),
    Case(
        name="ResultPath null throws the result away",
        states={"Call": invoke("Echo", {}, ResultPath=None)},
        data={"kept": True},
        output={"kept": True},
    ),
    Case(
        name="a path that is not there is States.Runtime, which States.ALL does not catch",  # EH
        states=caught(["States.ALL"], invoke("Echo", {"x.$": "$.missing"})),
        status="FAILED",
        error="States.Runtime",
    ),
    Case(
        name="the context object",
        states={
            "Show": {
                "Type": "Pass",
                "Parameters": {
                    "id.$": "$$.Execution.Id",
                    "name.$": "$$.Execution.Name",
                    "input.$": "$$.Execution.Input",
                    "state.$": "$$.State.Name",
                    "machine.$": "$$.StateMachine.Name",
                },
                "End": True,
            }
        },
        data={"a": 1},
        output={"id": "ARN", "name": "EXECUTION", "input": {"a": 1}, "state": "Show", "machine": "MACHINE"},
    ),
    Case(
        name="Wait waits for seconds from the input",
        states={"Wait": {"Type": "Wait", "SecondsPath": "$.s", "End": True}},
        data={"s": 1},
        output={"s": 1},
    ),
    Case(
        name="Wait for fixed seconds passes its input on",
        states={"Wait": {"Type": "Wait", "Seconds": 1, "Next": "Done"}, "Done": {"Type": "Succeed"}},
        data=[1],
        output=[1],
    ),
    Case(
        name="Fail has its error and cause",
        states={"Fail": {"Type": "Fail", "Error": "SystemError", "Cause": "of the definition"}},
        status="FAILED",
        error="SystemError",
        cause="of the definition",
    ),
    Case(
        name="Fail takes error and cause from paths",
        states={"Fail": {"Type": "Fail", "ErrorPath": "$.e", "CausePath": "States.Format('because {}', $.c)"}},
        data={"e": "Mine", "c": "of this"},
        status="FAILED",
        error="Mine",
        cause="because of this",
    ),
    Case(
        name="the first catcher that matches is taken",
        states={
            "Work": {
                **{k: v for k, v in invoke("Refuse", {}).items() if k != "End"},
                "Catch": [
                    {"ErrorEquals": ["Other", "UserError"], "ResultPath": "$.failure", "Next": "Mine"},
                    {"ErrorEquals": ["States.ALL"], "Next": "All"},
                ],
                "Next": "All",
            },
            "Mine": {"Type": "Pass", "Parameters": {"kept.$": "$.a", "e.$": "$.failure.Error"}, "End": True},
            "All": {"Type": "Fail"},
        },
        data={"a": 1},
        output={"kept": 1, "e": "UserError"},
    ),
    Case(
        name="without ResultPath the error replaces the input of the catcher",
        states=caught(["States.TaskFailed"], invoke("Refuse", {})),
        data={"a": 1},
        output=REFUSED,
    ),
    Case(
        name="States.TaskFailed does not match a timeout",  # EH
        states=caught(["States.TaskFailed"], invoke("SleepLong", {"seconds": 30}, TimeoutSeconds=1)),
        status="FAILED",
        error="States.Timeout",
    ),
    Case(
        name="a state over its TimeoutSecondsPath is States.Timeout",
        states=caught(["States.Timeout"], invoke("SleepLong", {"seconds": 30}, TimeoutSecondsPath="$.t")),
        data={"t": 1},
        output={"Error": "States.Timeout", "Cause": ""},
    ),
    Case(
        name="a function over its own time is Sandbox.Timedout, which States.TaskFailed matches",  # EH
        states=caught(["States.TaskFailed"], invoke("Sleep", {"seconds": 30})),
        output={"Error": "Sandbox.Timedout", "CauseHas": "Task timed out after 1.00 seconds"},
    ),
    Case(
        name="an error of a retrier with no attempts goes to the catcher at once",
        states=caught(
            ["UserError"],
            invoke(
                "Refuse",
                {},
                Retry=[
                    {"ErrorEquals": ["UserError"], "MaxAttempts": 0},
                    {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 30, "MaxAttempts": 3},
                ],
            ),
        ),
        output=REFUSED,
    ),
    Case(
        name="the execution as a whole has a timeout",
        states={"Wait": {"Type": "Wait", "Seconds": 30, "End": True}},
        top={"TimeoutSeconds": 1},
        status="TIMED_OUT",
    ),
    Case(
        name="Map runs its items, at most so many at once, and keeps their order",
        states={
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.list",
                "MaxConcurrency": 2,
                "ItemSelector": {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "all.$": "$.name"},
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "One",
                    "States": {"One": invoke("Echo", {"x.$": "$"}, OutputPath="$.Payload.event.x")},
                },
                "ResultPath": "$.done",
                "OutputPath": "$.done",
                "End": True,
            }
        },
        data={"list": ["a", "b", "c"], "name": "n"},
        output=[{"i": 0, "v": "a", "all": "n"}, {"i": 1, "v": "b", "all": "n"}, {"i": 2, "v": "c", "all": "n"}],
    ),
    Case(
        name="a Map whose item fails has the error of the item",
        states={
            "Each": {
                "Type": "Map",
                "ItemProcessor": {"StartAt": "One", "States": {"One": invoke("Refuse", {})}},
                "Catch": [{"ErrorEquals": ["UserError"], "Next": "Caught"}],
                "End": True,
            },
            "Caught": {"Type": "Pass", "End": True},
        },
        data=[1, 2],
        output=REFUSED,
    ),
    Case(
        name="Parallel gives the outputs of its branches in their order",
        states={
            "Both": {
                "Type": "Parallel",
                "Branches": [
                    {"StartAt": "L", "States": {"L": {"Type": "Pass", "Result": 1, "End": True}}},
                    {"StartAt": "R", "States": {"R": {"Type": "Pass", "Parameters": {"b.$": "$.a"}, "End": True}}},
                ],
                "End": True,
            }
        },
        data={"a": 2},
        output=[1, {"b": 2}],
    ),
    Case(
        name="Map gives each item to its states, as ItemSelector shapes it, and the outputs in the items' order",
        states={
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrencyPath": "$.at_once",
                "ItemSelector": {
                    "n.$": "$$.Map.Item.Value.number",
                    "time.$": "$$.Map.Item.Value.timeout_s",
                    "place.$": "$$.Map.Item.Value.place",
                    "all.$": "$.all",
                    "id.$": "$$.Execution.Id",
                },
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Call",
                    "States": {"Call": invoke("Echo", {"in.$": "$"}, OutputPath="$.Payload.event.in")},
                },
                "End": True,
            }
        },
        data={
            "items": [{"number": str(n), "timeout_s": n, "place": "task"} for n in range(3)],
            "all": "x",
            "at_once": 2,
        },
        output=[{"n": str(n), "time": n, "place": "task", "all": "x", "id": "ARN"} for n in range(3)],
    ),
    Case(
        name="Map over nothing succeeds, and ResultPath null keeps its input",
        states={
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Do",
                    "States": {"Do": {"Type": "Pass", "End": True}},
                },
                "ResultPath": None,
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
        },
        data={"items": []},
        output={"items": []},
    ),
    Case(
        name="an error that an item catches by itself leaves the other items and the Map alone",
        states={
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Which",
                    "States": {
                        "Which": {
                            "Type": "Choice",
                            "Choices": [{"Variable": "$.bad", "BooleanEquals": True, "Next": "Work"}],
                            "Default": "Good",
                        },
                        "Good": {"Type": "Pass", "Result": "good", "End": True},
                        "Work": {
                            **invoke("Refuse", {}),
                            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Bad"}],
                        },
                        "Bad": {"Type": "Pass", "OutputPath": "$.failure.Error", "End": True},
                    },
                },
                "End": True,
            }
        },
        data={"items": [{"bad": False}, {"bad": True}, {"bad": False}]},
        output=["good", "UserError", "good"],
    ),
    Case(
        name="what no item catches is caught by the Map",
        states=caught(
            ["States.ALL"],
            {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Work",
                    "States": {"Work": invoke("Refuse", {})},
                },
            },
            ResultPath=None,
        ),
        data={"items": [1]},
        output={"items": [1]},
    ),
    Case(
        name="a string is JSON as output",
        states={"Say": {"Type": "Pass", "Result": "done", "End": True}},
        output="done",
    ),
    Case(
        name="a result over 256 KiB is States.DataLimitExceeded, which States.ALL does not catch",  # EH
        states=caught(["States.ALL"], invoke("Long", {"characters": BIG + 1})),
        status="FAILED",
        error="States.DataLimitExceeded",
    ),
    *(
        Case(
            name=f"a result of {size} bytes",
            states={
                "Join": {
                    "Type": "Pass",
                    "Parameters": {"r.$": f"States.Format('{{}}{{}}{more}', $.a, $.a)"},
                    "OutputPath": "$.r",
                    "End": True,
                }
            },
            data={"a": half},
            output=half + half + more,
            status="FAILED" if error else "SUCCEEDED",
            error=error,
        )
        for half, more, size, error in (
            ("x" * (BIG // 2), "", "262,144", None),
            ("x" * (BIG // 2), "y", "262,145", "States.DataLimitExceeded"),
            ("\u00e9" * (BIG // 4), "yy", "262,144 (of two bytes a letter)", None),
            ("\u00e9" * (BIG // 4), "yyy", "262,145 (of two bytes a letter)", "States.DataLimitExceeded"),
        )
    ),
    Case(
        name="OutputPath null empties the output of a Task",
        states={"Call": invoke("Echo", {"value.$": "$.a"}, ResultPath=None, OutputPath=None)},
        data={"a": 1},
        output={},
    ),
    *(
        Case(
            name=f"a Map of {items} items has {what}",
            states={
                "Each": {
                    "Type": "Map",
                    "ItemProcessor": {
                        "ProcessorConfig": {"Mode": "INLINE"},
                        "StartAt": "Item",
                        "States": {"Item": {"Type": "Pass", **output_path, "End": True}},
                    },
                    "ResultPath": None,
                    "End": True,
                }
            },
            data=[1] * items,
            output=[1] * items,
            status="FAILED" if error else "SUCCEEDED",
            error=error,
        )
        for items, output_path, what, error in (
            (3, {"Result": "y" * (BIG // 3)}, "results over 256 KiB, although it discards them", LIMIT),
            (3, {"Result": "y" * (BIG // 3 - 3)}, "results of just 256 KiB", None),
            (300, {"OutputPath": None}, "results of two bytes each", None),
        )
    ),
    Case(
        name="States.DataLimitExceeded is caught by its name",
        states=caught(["States.DataLimitExceeded"], invoke("Long", {"characters": BIG + 1}), ResultPath=None),
        data={"a": 1},
        output={"a": 1},
    ),
)
