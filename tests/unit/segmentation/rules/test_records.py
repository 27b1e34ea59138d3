"""Rules in JSON, their canonical form and hash."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from schemas.errors import UserError
from segmentation.expressions.cursor import MAX_TERMS
from segmentation.rules.aggregates import MAX_NUMBER
from segmentation.rules.canonical import canonical_json, rule_hash
from segmentation.rules.events import MAX_NAME, MAX_WINDOW_S
from segmentation.rules.nodes import MAX_TIMES, MAX_VALUES, Quantity
from segmentation.rules.parser import parse_rule
from segmentation.rules.record_reader import MAX_BYTES, rule_from_json, rule_from_record
from segmentation.rules.records import rule_record
from segmentation.rules.sequences import MAX_LATEST

SCHEMA = json.loads((Path(__file__).parents[4] / "schemas" / "rule.schema.json").read_text())
TEXT = (
    "(count(purchase where amount >= 100, 30d) >= 2 or last(purchase) < 2026-11-01T00:00:00Z) "
    'and born < 2001-01-01 and plan in ("free", "pro") and email is set and not in audience vip and never(refund)'
)
RECORD = {
    "rule": 1,
    "timezone": "Asia/Tokyo",
    "all": [
        {
            "any": [
                {
                    "type": "count",
                    "event": "purchase",
                    "where": [{"name": "amount", "operator": ">=", "value": 100}],
                    "quantity": "at_least",
                    "times": 2,
                    "within_s": 2_592_000,
                },
                {
                    "type": "last",
                    "event": "purchase",
                    "where": [],
                    "bound": "before",
                    "moment": "2026-11-01T00:00:00Z",
                },
            ]
        },
        {"any": [{"type": "attribute", "name": "born", "operator": "<", "value": {"date": "2001-01-01"}}]},
        {"any": [{"type": "attribute", "name": "plan", "in": ["free", "pro"]}]},
        {"any": [{"type": "attribute", "name": "email", "set": True}]},
        {"none": [{"type": "member", "kind": "audience", "name": "vip"}]},
        {"any": [{"type": "never", "event": "refund", "where": []}]},
    ],
}


def test_a_rule_in_json() -> None:
    rule = parse_rule(TEXT, timezone="Asia/Tokyo")
    assert rule_record(rule) == RECORD
    assert rule_from_json(json.dumps(RECORD).encode()) == rule
    jsonschema_rs.validate(SCHEMA, RECORD)


def test_optional_and_alternative_forms_are_equivalent() -> None:
    record = json.loads(json.dumps(RECORD))
    count, last = record["all"][0]["any"]
    del last["where"]
    last["moment"] = "2026-11-01T09:00+09:00"
    count |= {"times": 2.0, "where": [{"name": "amount", "operator": ">=", "value": 1e2}]}
    jsonschema_rs.validate(SCHEMA, record)
    assert rule_from_record(record) == rule_from_record(RECORD)


AGGREGATES = [
    {
        "type": "sum",
        "property": "amount",
        "event": "purchase",
        "where": [],
        "operator": ">=",
        "value": 100,
        "within_s": 2_592_000,
        "latest": 1000,
    },
    {
        "type": "max",
        "property": "amount",
        "event": "purchase",
        "where": [],
        "operator": "<",
        "value": 0.5,
        "from": "2026-11-01T00:00:00Z",
        "before": "2026-12-01T00:00:00Z",
    },
    {
        "type": "distinct",
        "property": "sku",
        "event": "view",
        "where": [],
        "quantity": "at_least",
        "times": 3,
        "within_s": 604_800,
    },
]


def of_aggregates(conditions: Sequence[object]) -> dict[str, Any]:
    return {"rule": 1, "timezone": None, "all": [{"any": conditions}]}


def test_aggregates_in_json() -> None:
    record = of_aggregates(AGGREGATES)
    text = (
        "sum(amount of purchase, 30d) >= 100 or max(amount of purchase between 2026-11-01T00:00:00Z and "
        "2026-11-30T23:59:59.999999Z) < 0.5 or distinct(sku of view, 7d) >= 3"
    )
    assert rule_record(parse_rule(text)) == record
    assert rule_from_record(record) == parse_rule(text)
    jsonschema_rs.validate(SCHEMA, record)


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"type": "median"}, ": median over events cannot be asked; count, sum, avg, min, max, distinct can"),
        (0, {"latest": 1001}, ": the latest 1 to 1,000 events count"),
        (0, {"latest": 0}, ": the latest 1 to 1,000 events count"),
        (0, {"latest": None}, ".latest: not a whole number"),
        (0, {"value": 0.00001}, ": sums are in steps of 0.0001"),
        (0, {"value": 9.1e14}, ": a sum is compared with up to 900,000,000,000,000"),
        (0, {"type": "avg", "value": -9.1e11}, ": an average is compared with up to 900,000,000,000"),
        (0, {"value": "100"}, ".value: not a number"),
        (0, {"value": True}, ".value: not a number"),
        (0, {"operator": "!="}, ".operator: not one of >=, >, <=, <, ="),
        (0, {"type": "min"}, ": unknown: latest"),
        (0, {"property": ""}, ": the name of a property has 1 to 255 characters"),
        (0, {"property": "a\0"}, ": the property 'a\\x00' has a NUL character"),
        (0, {"within_s": 0}, ": a window is from 1s to 366d, not 0 seconds"),
        (0, {"within_s": 10_000 * 366 * 86_400}, ": a window is from 1s to 366d, not 316,224,000,000 seconds"),
        (1, {"within_s": 60}, ": between takes the place of the window"),
        (2, {"times": 101}, ": a number of different values is compared with 0 to 100 times, not 101"),
        (2, {"times": 0}, ": at least 0 times is true for everyone"),
    ],
)
def test_invalid_aggregate_is_refused_with_its_path(number: int, changes: dict[str, Any], message: str) -> None:
    record = of_aggregates([{**AGGREGATES[number], **changes}])
    with pytest.raises(UserError) as caught:
        rule_from_record(record)
    assert f"at all[0].any[0]{message}" in caught.value.message
    if "steps" not in message:  # which JSON Schema cannot say of decimals
        assert not jsonschema_rs.is_valid(SCHEMA, record)


def test_json_schema_limits_match_rule_limits() -> None:
    count = SCHEMA["$defs"]["count"]["properties"]
    assert (count["times"]["maximum"], count["within_s"]["maximum"]) == (MAX_TIMES, MAX_WINDOW_S)
    assert SCHEMA["$defs"]["distinct"]["properties"]["times"]["maximum"] == MAX_VALUES
    assert SCHEMA["$defs"]["total"]["properties"]["latest"]["maximum"] == MAX_LATEST
    assert SCHEMA["$defs"]["total"]["then"]["properties"]["value"]["maximum"] == MAX_NUMBER
    assert tuple(count["quantity"]["enum"]) == Quantity.__args__  # type: ignore[attr-defined]
    assert SCHEMA["$defs"]["name"]["maxLength"] == MAX_NAME
    assert f"At most {MAX_TERMS:,} conditions and values" in SCHEMA["description"]


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    record = json.loads(json.dumps(RECORD))
    change(record)
    return json.dumps(record).encode()


def in_count(**values: object) -> bytes:
    return changed(lambda record: record["all"][0]["any"][0].update(values))


def of_born(value: object) -> bytes:
    return changed(lambda record: record["all"][1]["any"][0].update(value=value))


def of_sequence(change: Callable[[Any], object]) -> bytes:
    record: Any = rule_record(parse_rule("sequence(a then not b within 1d same p, 7d)"))
    change(record["all"][0]["any"][0])
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a rule in JSON: Expecting value"),
        (b"\xff", "not a rule in JSON"),
        (b"[" * 100_000, "not a rule in JSON: lists or objects are nested too deep"),
        (b'{"all":' * 50_000, "not a rule in JSON: lists or objects are nested too deep"),
        (b" " * (MAX_BYTES + 1), "1048577 bytes exceed the limit of 1048576"),
        (b"[]", "at the top: not an object"),
        (b'{"rule": 1, "rule": 1, "all": []}', "an object has a key twice"),
        (b'{"rule": 1, "all": NaN}', "NaN is not JSON"),
        (b'{"rule": 1, "all": ' + b"9" * 5_000 + b"}", "not a rule in JSON"),
        (b'{"rule": 1}', "at the top: missing: all"),
        (b'{"rule": 1, "all": []}', "at the top: a rule must have at least one condition"),
        (b'{"rule": 1, "all": [{"any": []}]}', "at all[0]: a group must have at least one condition"),
        (changed(lambda r: r.update(rule=3)), "at rule: this is a rule of version 3, not 1 or 2"),
        (changed(lambda r: r.update(rule=True)), "at rule: this is a rule of version True, not 1 or 2"),
        (changed(lambda r: r.update(any=[])), "at the top: unknown: any; known: all, rule, timezone"),
        (
            changed(lambda r: r.pop("timezone")),
            "at the top: comparing an attribute with dates or whole days needs a time zone",
        ),
        (changed(lambda r: r.update(timezone=9)), "at timezone: not a string"),
        (changed(lambda r: r["all"][0].update(none=[])), "at all[0]: unknown: any; known: none"),
        (changed(lambda r: r.update(all=r["all"] * 200)), f"at the top: more than {MAX_TERMS} conditions and values"),
        (changed(lambda r: r["all"][2]["any"][0].update({"in": ["x" * 70_000]})), "has more than 65,536 characters"),
        (
            in_count(type="between"),
            "at all[0].any[0]: type is not one of count, ever, never, first, last, sequence, sum, avg, min, max",
        ),
        (in_count(times=-1), "at all[0].any[0]: a count is compared with 0 to 1,000 times, not -1"),
        (in_count(times=0), "at all[0].any[0]: at least 0 times is true for everyone"),
        (in_count(times=1.5), "at all[0].any[0].times: not a whole number"),
        (in_count(times=True), "at all[0].any[0].times: not a whole number"),
        (in_count(within_s=0), "at all[0].any[0]: a window is from 1s to 366d, not 0 seconds"),
        (in_count(within_s=10_000 * 366 * 86_400), "a window is from 1s to 366d, not 316,224,000,000 seconds"),
        (in_count(quantity="about"), "at all[0].any[0].quantity: not one of at_least, at_most, exactly"),
        (in_count(event=""), "at all[0].any[0]: the name of an event has 1 to 255 characters"),
        (in_count(event="a\0"), "at all[0].any[0]: the event 'a\\x00' has a NUL character"),
        (in_count(event="\ud800"), "at all[0].any[0]: the event '\\ud800' has half of a surrogate pair"),
        (
            in_count(where=[{"name": "a", "operator": "~", "value": 1}]),
            "at all[0].any[0].where[0].operator: not one of =,",
        ),
        (in_count(where=[{"name": "a", "operator": "<", "value": True}]), "true and false have no order: use = or !="),
        (in_count(where=[{"name": "a", "in": []}]), "a list must have at least one value, and all of one type"),
        (in_count(where=[{"name": "a", "in": [1, "1"]}]), "a list must have at least one value, and all of one type"),
        (in_count(where=[{"name": "a", "in": [{"date": "2026-11-01"}]}]), "properties of events have no dates"),
        (of_sequence(lambda r: r.pop("window_s")), "at all[0].any[0]: missing: window_s"),
        (of_sequence(lambda r: r.pop("latest")), "at all[0].any[0]: missing: latest"),
        (of_sequence(lambda r: r.update(latest=1_001)), "at all[0].any[0]: the latest 1 to 1,000 moments of a step"),
        (of_sequence(lambda r: r.update(latest=0)), "at all[0].any[0]: the latest 1 to 1,000 moments of a step"),
        (of_sequence(lambda r: r.update(same="a\0")), "at all[0].any[0]: the property 'a\\x00' has a NUL character"),
        (of_sequence(lambda r: r.update(steps=[])), "at all[0].any[0]: a sequence has two or three steps, not 0"),
        (
            of_sequence(lambda r: r.update(steps=r["steps"][:1] + r["steps"][1:] * 10_000)),
            "at all[0].any[0]: a sequence has two or three steps, not 10001",
        ),
        (
            of_sequence(lambda r: r["steps"][0].update({"not": True})),
            "at all[0].any[0].steps[0]: unknown: not; known: before, event, from, where",
        ),
        (of_sequence(lambda r: r["steps"][1].update({"not": 1})), "at all[0].any[0].steps[1].not: not true or false"),
        (of_sequence(lambda r: r["steps"][1].pop("gap_s")), "at all[0].any[0].steps[1]: missing: gap_s"),
        (
            of_sequence(lambda r: r["steps"][1].update(gap_s=-1)),
            "at all[0].any[0]: a step comes within a time, as in: then purchase within 1d",
        ),
        (
            of_sequence(lambda r: r["steps"][1].update(within_s=10_000 * 366 * 86_400)),
            "at all[0].any[0]: the window of a sequence and the times of its steps are up to 366d together",
        ),
        (of_sequence(lambda r: r["steps"][1].update(event="")), "at all[0].any[0].steps[1]: the name of an event has"),
        (of_born(None), "at all[1].any[0].value: not a string, number, true or false"),
        (of_born({"date": "2026-02-30"}), "at all[1].any[0].value: this date does not exist: 2026-02-30"),
        (of_born({"date": "9999-12-31"}), "at all[1].any[0]: 9999-12-31 is not from 0001-01-02 to 9999-12-29"),
        (of_born({"timestamp": "2026-11-01T00:00:00"}), "not a timestamp with an offset"),
        (of_born({"timestamp": "0001-01-01T00:00:00+09:00"}), "this time does not exist"),
        (of_born(2**53 + 1), "no double represents this whole number exactly; the nearest one is 9007199254740992"),
        (of_born(10**400), "this number is larger than any double"),
        (of_born("\ud800"), "at all[1].any[0].value: this text has half of a surrogate pair"),
    ],
)
def test_invalid_rule_is_refused_with_its_path(data: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        rule_from_json(data)
    assert caught.value.code == "BAD_RULE"
    assert message in caught.value.message


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(UserError, match="BAD_TIMEZONE"):
        rule_from_json(changed(lambda r: r.update(timezone="Mars/Olympus")))


def test_canonical_form_and_hash_are_stable() -> None:
    rule = parse_rule("b >= 25.0 and not (in audience vip or a = true)", timezone="Asia/Tokyo")
    assert canonical_json(rule) == (
        b'{"all":[{"any":[{"name":"b","operator":">=","type":"attribute","value":25}]},'
        b'{"none":[{"kind":"audience","name":"vip","type":"member"}]},'
        b'{"none":[{"name":"a","operator":"=","type":"attribute","value":true}]}],"rule":1,"timezone":null}'
    )
    assert rule_hash(rule) == "4b872957bc5dfc5d6e2b0b26e279a08344fc0125d61306f90d741a6131d57288"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 1 and b = 2", "b = 2 and a = 1.0 and a = 1"),
        ("a = 1 or b = 2", "b = 2e0 or a = 1 or b = 2"),
        ("not (a = 1 or b = 2)", "not b = 2 and not a = 1"),
        ("a in (2, 1, 2)", "a in (1, 2)"),
        ('a in ("x")', 'a = "x"'),
        ("a = -0", "a = 0"),
        ("count(x, 24h) > 2", "count(x, 1d) >= 3"),
        ("count(x, 1d) = 0", "count(x, 1d) < 1"),
        ("ever(x where a = 1 and b = 2)", "ever(x where b = 2 and a = 1)"),
        ("first(x) >= 2026-11-01", "first(x) > 2026-10-31T14:59:59.999999Z"),
        (
            "sequence(a where p = 1 and q = 2 then b within 24h, 7d)",
            "SEQUENCE(a where q in (2) and p = 1 then b within 1d, 168h)",
        ),
        ("rule 2: never(x)", "never(x)"),
        ("rule 2: not in audience x", "not in audience x"),
        ("rule 2: in audience x and ever(x)", "in audience x and ever(x)"),
        ("rule 2: in audience x and not never(x)", "in audience x and not never(x)"),
    ],
)
def test_equal_rules_have_equal_hashes(one: str, other: str) -> None:
    assert rule_hash(parse_rule(one, timezone="Asia/Tokyo")) == rule_hash(parse_rule(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 1", 'a = "1"'),
        ("a = 1", "a = true"),
        ("a = 1 and b = 1", "a = 1 or b = 1"),
        ("a = 1", "not a = 1"),
        ("in audience x", "in segment x"),
        ("rule 2: in audience x", "in audience x"),
        ("rule 2: in segment x and never(x)", "in segment x and never(x)"),
        ("rule 2: in audience x or ever(x)", "in audience x or ever(x)"),
        ("count(x, 1d) = 1", "count(x, 1d) <= 1"),
        ("count(x, 1d) = 1", "count(x, 1d1s) = 1"),
        ("ever(x)", "never(x)"),
        ("sequence(a then b within 1d, 7d)", "sequence(b then a within 1d, 7d)"),
        ("sequence(a then b within 1d, 7d)", "sequence(a then not b within 1d, 7d)"),
        ("sequence(a then b within 1d, 7d)", "sequence(a then b within 1s..1d, 7d)"),
        ("sequence(a then b within 1d, 7d)", "sequence(a then b within 1d same p, 7d)"),
        ("sequence(a then b within 1d same q, 7d)", "sequence(a then b within 1d same p, 7d)"),
        ("first(x) < 2026-11-01", "last(x) < 2026-11-01"),
        ('a = "é"', 'a = "e\u0301"'),
    ],
)
def test_different_rules_have_different_hashes(one: str, other: str) -> None:
    assert rule_hash(parse_rule(one, timezone="UTC")) != rule_hash(parse_rule(other, timezone="UTC"))


def test_only_rules_with_dates_include_the_zone() -> None:
    def hashes(text: str) -> set[str]:
        return {rule_hash(parse_rule(text, timezone=zone)) for zone in ("UTC", "Asia/Tokyo")}

    assert len(hashes("born < 2001-01-01")) == 2
    assert len(hashes("a = 1")) == 1
    record = rule_record(parse_rule("a = 1")) | {"timezone": "Asia/Tokyo"}
    assert rule_hash(rule_from_record(record)) == rule_hash(parse_rule("a = 1"))


def test_instants_keep_microseconds() -> None:
    [condition] = parse_rule("first(x) < 2026-11-01T00:00:00.000001Z").conditions
    assert condition.moment == datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC)  # type: ignore[union-attr]
