"""Map states: what AWS documents of their modes, limits and failures.

DM is the page "Using Map state in Distributed mode" of AWS's developer guide, TF "Setting failure thresholds".
"""

from typing import Any

from tests.engine.building import Case, caught

THRESHOLD = {
    "Error": "States.ExceedToleratedFailureThreshold",
    "Cause": "The specified tolerated failure threshold was exceeded",
}
PASS = {"Do": {"Type": "Pass", "End": True}}
FAILS_AT_7: dict[str, dict[str, Any]] = {
    "Which": {
        "Type": "Choice",
        "Choices": [{"Variable": "$", "NumericEquals": 7, "Next": "Bad"}],
        "Default": "Good",
    },
    "Good": {"Type": "Pass", "End": True},
    "Bad": {"Type": "Fail", "Error": "UserError", "Cause": "of item 7"},
}
STAYS: dict[str, dict[str, Any]] = {"Stay": {"Type": "Wait", "Seconds": 300, "End": True}}
INSIDE: dict[str, dict[str, Any]] = {
    "Show": {
        "Type": "Pass",
        "Parameters": {
            "id.$": "$$.Execution.Id",
            "name.$": "$$.Execution.Name",
            "input.$": "$$.Execution.Input",
            "machine.$": "$$.StateMachine.Name",
        },
        "End": True,
    }
}
IN_STORE = {
    "Resource": "arn:aws:states:::s3:getObject",
    "ReaderConfig": {"InputType": "JSON"},
    "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
}
SOME_STAY = {**FAILS_AT_7, "Good": STAYS["Stay"]}
UNITS = 2000
TIMES = ("verify_s", "import_s", "build_s", "publish_s")


def each(mode: str, child: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A Map state that runs the states of `child` for each item."""
    config = {"Mode": mode, **({"ExecutionType": "STANDARD"} if mode == "DISTRIBUTED" else {})}
    processor = {"ProcessorConfig": config, "StartAt": next(iter(child)), "States": child}
    return {"Type": "Map", "ItemProcessor": processor, **({} if "Next" in more else {"End": True}), **more}


def distributed(child: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A state machine of one Distributed Map."""
    return {"StartAt": "Each", "States": {"Each": each("DISTRIBUTED", child, **more)}}


SELECTED = distributed(
    INSIDE,
    ItemsPath="$.items",
    ItemSelector={"from.$": "$$.Execution.Name", "v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index", "o.$": "$.o"},
    Label="unit",
)
READ = distributed(PASS, ItemReader=IN_STORE, MaxConcurrency=2)
READ_OR_CAUGHT = {
    "StartAt": "Work",
    "States": caught(["States.ItemReaderFailed"], each("DISTRIBUTED", PASS, ItemReader=IN_STORE), ResultPath="$.e"),
}

MAP_CASES: tuple[Case, ...] = (
    *(
        Case(
            name=f"{UNITS} children at concurrency {at_once}",
            states=distributed(PASS, MaxConcurrency=at_once)["States"],
            data=list(range(UNITS)),
            output=list(range(UNITS)),
        )
        for at_once in (2, 40)
    ),
    Case(
        name="a Distributed Map takes its concurrency from the data, and fields of its items",
        states=distributed(
            PASS,
            ItemsPath="$.items",
            MaxConcurrencyPath="$.at_once",
            ItemSelector={f"{field}.$": f"$$.Map.Item.Value.{field}" for field in TIMES},
        )["States"],
        data={"items": [dict.fromkeys(TIMES, n) for n in range(3)], "at_once": 2},
        output=[dict.fromkeys(TIMES, n) for n in range(3)],
    ),
    Case(
        name="an inline Map of 1,200 items at concurrency 1",
        states={"Each": each("INLINE", PASS, MaxConcurrency=1)},
        data=list(range(1200)),
        output=list(range(1200)),
    ),
    Case(
        name="one failing child fails a Distributed Map, and not with its own error",  # TF
        states=caught(["UserError"], each("DISTRIBUTED", FAILS_AT_7, MaxConcurrency=2)),
        data=list(range(UNITS)),
        status="FAILED",
        error=THRESHOLD["Error"],
        cause=THRESHOLD["Cause"],
    ),
    Case(
        name="States.TaskFailed catches States.ExceedToleratedFailureThreshold",
        states=caught(["States.TaskFailed"], each("DISTRIBUTED", FAILS_AT_7)),
        data=[1, 7],
        output=THRESHOLD,
    ),
    *(
        Case(
            name=f"two of four children fail, {tolerated}",  # TF
            states=distributed(FAILS_AT_7, **tolerated)["States"],
            data=[7, 1, 7, 2],
            output=[None, 1, None, 2],
            status="FAILED" if error else "SUCCEEDED",
            error=error,
        )
        for tolerated, error in (
            ({"ToleratedFailureCount": 2}, None),
            ({"ToleratedFailureCount": 1}, THRESHOLD["Error"]),
            ({"ToleratedFailurePercentage": 50.0}, None),
            ({"ToleratedFailurePercentage": 49.0}, THRESHOLD["Error"]),
            ({"ToleratedFailureCount": 1, "ToleratedFailurePercentage": 50.0}, THRESHOLD["Error"]),
        )
    ),
    Case(
        name="an inline Map that fails does not wait for its other items",
        states={"Each": each("INLINE", SOME_STAY)},
        data=[1, 2, 7, 3],
        status="FAILED",
        error="UserError",
    ),
    Case(
        name="a Distributed Map over nothing",
        states=distributed(PASS, MaxConcurrency=2)["States"],
        data=[],
        output=[],
    ),
    Case(
        name="the item is hidden from the states of a child",  # DM
        states=distributed({"Do": {"Type": "Pass", "Parameters": {"i.$": "$$.Map.Item.Index"}, "End": True}})["States"],
        data=[1],
        status="FAILED",
        error=THRESHOLD["Error"],
    ),
    Case(
        name="joined outputs of children over 256 KiB",
        states=distributed({"Do": {"Type": "Pass", "Result": "y" * 100_000, "End": True}}, ResultPath=None)["States"],
        data=[1, 2, 3],
        status="FAILED",
        error="States.DataLimitExceeded",
    ),
    Case(
        name="a child whose input is over 256 KiB",
        states=distributed(PASS, ItemsPath="$.items", ItemSelector={"a.$": "$.a", "b.$": "$.a"})["States"],
        data={"items": [1], "a": "x" * 140_000},
        status="FAILED",
        error="States.DataLimitExceeded",
    ),
    Case(
        name="there is no ResultWriter",
        states=distributed(
            PASS, ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}}
        )["States"],
        data=[1],
        status="FAILED",
        error="States.ResultWriterFailed",
    ),
)
