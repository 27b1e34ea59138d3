"""Comparisons of a Choice and intrinsic functions, one per line: the input, and the output that AWS documents."""

from typing import Any

RULES: list[tuple[dict[str, Any], Any, str]] = [
    ({"Variable": "$.a", "StringEquals": "x"}, "x", "yes"),
    ({"Variable": "$.a", "StringEquals": "x"}, "X", "no"),
    ({"Variable": "$.a", "StringEquals": "1"}, 1, "no"),  # a value of another type never matches
    ({"Variable": "$.a", "StringMatches": "v*.csv"}, "v12.csv", "yes"),
    ({"Variable": "$.a", "BooleanEquals": True}, True, "yes"),
    ({"Variable": "$.a", "BooleanEquals": True}, "true", "no"),
    ({"Variable": "$.a", "NumericEquals": 1}, 1.0, "yes"),
    ({"Variable": "$.a", "NumericGreaterThan": 3}, 3, "no"),
    ({"Variable": "$.a", "NumericGreaterThanEquals": 3}, 3, "yes"),
    ({"Variable": "$.a", "NumericLessThan": 3}, 2, "yes"),
    ({"Variable": "$.a", "NumericLessThanEquals": 3}, 4, "no"),
    ({"Variable": "$.b", "IsPresent": True}, 1, "no"),
    ({"Variable": "$.a", "IsPresent": True}, None, "yes"),
    ({"Variable": "$.a", "IsNull": True}, None, "yes"),
    ({"Not": {"Variable": "$.a", "NumericEquals": 1}}, 2, "yes"),
    ({"Or": [{"Variable": "$.a", "NumericEquals": 1}, {"Variable": "$.a", "NumericEquals": 2}]}, 2, "yes"),
    ({"And": [{"Variable": "$.a", "NumericGreaterThan": 1}, {"Variable": "$.a", "NumericLessThan": 3}]}, 2, "yes"),
    ({"And": [{"Variable": "$.a", "NumericGreaterThan": 1}, {"Variable": "$.a", "NumericLessThan": 3}]}, 3, "no"),
]
INTRINSICS: list[tuple[str, Any]] = [
    ("States.Array('verify', $.a, $$.Execution.Name)", ["verify", "x'y", "EXECUTION"]),
    ("States.Format('{} of {}', $.n, 'two')", "1 of two"),
    ("States.StringToJson($.json)", {"k": [1]}),
    ("States.JsonToString($.o)", '{"k":1}'),
    ("States.ArrayLength($.list)", 3),
    ("States.ArrayGetItem($.list, 1)", 2),
    ("States.ArrayRange(0, 4, 2)", [0, 2, 4]),
    ("States.ArrayPartition($.list, 2)", [[1, 2], [3]]),
    ("States.MathAdd($.n, -1)", 0),
    ("States.JsonMerge($.o, $.p, false)", {"k": 2, "m": 3}),
]
DATA = {"a": "x'y", "n": 1, "json": '{"k": [1]}', "o": {"k": 1}, "p": {"k": 2, "m": 3}, "list": [1, 2, 3]}
