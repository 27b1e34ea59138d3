"""Random rules: a written rule, as text or JSON, is read as the same rule; equal rules have equal hashes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UserError
from segmentation.rules.canonical import canonical, canonical_json, rule_hash
from segmentation.rules.nodes import Group, Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.record_reader import rule_from_json, rule_from_record
from segmentation.rules.records import rule_record
from tests.examples import examples
from tests.property.rule_cases import rules

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "rule.schema.json").read_text())
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


@examples(200)
@given(rules())
def test_written_rule_round_trips(rule: Rule) -> None:
    text = rule_text(rule)
    again = parse_rule(text, timezone=rule.timezone)
    assert again == rule
    assert rule_text(again) == text


@examples(200)
@given(rules())
def test_rule_json_matches_the_schema_and_round_trips(rule: Rule) -> None:
    encoded = json.dumps(rule_record(rule)).encode()
    assert VALIDATOR.is_valid(json.loads(encoded))
    assert rule_from_json(encoded) == rule
    of_canonical = rule_from_json(canonical_json(rule))
    assert of_canonical == canonical(rule) == canonical(of_canonical)
    assert rule_hash(of_canonical) == rule_hash(rule)


@examples(100)
@given(rules(), st.randoms())
def test_order_and_repetition_do_not_change_the_hash(rule: Rule, random: Any) -> None:
    groups = [
        Group(conditions=tuple(random.sample(g.conditions * 2, len(g.conditions) * 2)), negated=g.negated)
        for g in rule.groups
    ]
    other = replace(rule, groups=tuple(random.sample(groups * 2, len(groups) * 2)))
    assert rule_hash(other) == rule_hash(rule)


JUNK = st.sampled_from(
    [None, True, 0, -1, 3.5, 10**30, "", "count", "audience", [], {}, [1, "a"], {"date": "2026-13-01"}]
)


@st.composite
def spoiled(draw: st.DrawFn) -> object:
    """The record of a rule with something changed, removed or added."""
    record: Any = rule_record(draw(rules()))
    here: Any = record
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys)) if keys else None
        inner = None if key is None else here[key]
        if not isinstance(inner, dict | list) or draw(st.integers(0, 4)) == 0:
            break
        here = inner
    match draw(st.sampled_from(["change", "remove", "add"])):
        case "remove" if keys:
            del here[key]
        case "change" if keys:
            here[key] = draw(JUNK)
        case _ if isinstance(here, list):
            here.append(draw(JUNK))
        case _:
            here[draw(st.sampled_from(["type", "where", "in", "set", "value", "x"]))] = draw(JUNK)
    return record


UNSEEN_BY_A_SCHEMA = (
    "no double represents",
    "this date does not exist",
    "this time does not exist",
    "needs a time zone",
    "is not from 0001-01-02",
)


@examples(300)
@given(spoiled())
def test_the_schema_and_the_reader_refuse_the_same_documents(record: object) -> None:
    fits = VALIDATOR.is_valid(record)
    match outcome(lambda: rule_from_record(record)):
        case Rule() as rule:
            assert fits
            assert rule_from_record(rule_record(rule)) == rule
        case UserError(code="BAD_TIMEZONE"):
            pass
        case UserError(code="BAD_RULE", detail={"path": str()}, message=str(message)):
            assert not fits or any(what in message for what in UNSEEN_BY_A_SCHEMA)
        case error:
            pytest.fail(str(error))


WORDS = st.sampled_from(
    [
        "count",
        "(",
        ")",
        "purchase",
        ",",
        "3d",
        ">=",
        "2",
        "and",
        "or",
        "not",
        "where",
        "amount",
        "=",
        '"a"',
        "in",
        "is",
        "ever",
        "first",
        "<",
        "2026-11-01",
        "audience",
        "vip",
        "set",
        "true",
        "sum",
        "'",
        "\\",
        "-",
        "\u3000",
    ]
)


@examples(300)
@given(st.lists(WORDS | st.text(max_size=3), max_size=14).map(" ".join) | st.text(max_size=20))
def test_other_texts_are_refused_at_a_character(text: str) -> None:
    match outcome(lambda: parse_rule(text, timezone="UTC")):
        case Rule() as rule:
            assert parse_rule(rule_text(rule), timezone="UTC") == rule
        case UserError(code="BAD_RULE", detail={"position": int(position), "marked": str(marked)}):
            assert 1 <= position <= len(text) + 1
            assert marked.split("\n")[1].strip() == "^"
        case error:
            pytest.fail(str(error))


def outcome(read: Callable[[], Rule]) -> Rule | UserError:
    try:
        return read()
    except UserError as error:
        return error
