"""Every example of docs/rules.md is parsed, and runs on DuckDB."""

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import jsonschema_rs
import pytest

from schemas.errors import UserError
from segmentation.expressions.cursor import MAX_TERMS
from segmentation.expressions.source import MAX_CHARACTERS
from segmentation.rules.canonical import rule_hash
from segmentation.rules.conditions import RULES
from segmentation.rules.events import MAX_NAME
from segmentation.rules.nodes import MAX_TIMES
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.record_reader import rule_from_record
from segmentation.rules.records import rule_record
from segmentation.rules.sql import Relations, members_sql
from segmentation.rules.templates import TEMPLATES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "rules.md").read_text()
ZONE = "Asia/Tokyo"
TIMED = "Times that follow the clock"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BLOCKS = "".join(re.findall(r"```rule\n(.*?)```", TEXT, re.DOTALL)).splitlines()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| `([^|]*?)` \| ([^|]*?) ?\|$", section(title), re.MULTILINE)


def tenant() -> duckdb.DuckDBPyConnection:
    """The relations, with the columns that the document lists."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    maps, dated = (re.findall(r"\w+ MAP\(VARCHAR, \w+\)", line) for line in rows_of_relations())
    named = "user_id VARCHAR, event VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR"
    assert named in rows_of_relations()[0]
    connection.execute(f"CREATE TABLE events ({named}, {', '.join(maps)})")
    connection.execute(f"CREATE TABLE profiles (user_id VARCHAR, {', '.join(maps + dated)})")
    connection.execute("CREATE TABLE known_users (user_id VARCHAR)")
    connection.execute("CREATE TABLE members (kind VARCHAR, name VARCHAR, user_id VARCHAR)")
    [sql] = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    connection.execute(sql)
    return connection


def rows_of_relations() -> tuple[str, str]:
    [events] = re.findall(r"^\| events \|.*$", TEXT, re.MULTILINE)
    [profiles] = re.findall(r"^\| profiles \|.*$", TEXT, re.MULTILINE)
    return events, profiles


def found(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    sql, parameters = members_sql(parse_rule(text, timezone=ZONE), Relations(), NOW)
    return ", ".join(sorted(user for (user,) in connection.execute(sql, parameters).fetchall()))


def test_documented_rules_parse_and_run() -> None:
    cells = [cell for cell, _ in rows_with_code("How a rule is built") + rows_with_code(TIMED)]
    conditions = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    wishes = re.findall(r"^\| [^`|]+ \| `([^|]*?)` \|$", section(TIMED), re.MULTILINE)
    with tenant() as connection:
        for text in BLOCKS + wishes + [text for text in conditions if text[0].isalpha()]:
            rule = parse_rule(text, timezone=ZONE)
            assert parse_rule(rule_text(rule), timezone=ZONE) == rule
            assert rule_from_record(rule_record(rule)) == rule
            found(connection, text)
    assert len(BLOCKS) == 22
    assert len(conditions) > 30
    assert len(wishes) == 6


def rows_with_code(title: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| (`[^|]*?) \| ([^|]*?) ?\|$", section(title), re.MULTILINE)


def test_documented_templates_have_the_fields_and_rules_of_the_builder() -> None:
    texts = tomllib.loads((ROOT / "orchestration" / "console" / "texts" / "builder.toml").read_text())["template"]
    documented = re.findall(r"^\| ([^|`]+) \| `([^|]+)` \| ([^|]+) \|$", section("Templates"), re.MULTILINE)
    assert documented == [
        (
            texts[one.name]["en"],
            rule_text(one.rule({}, ZONE)),
            ", ".join(f"{texts[f'{one.name}.{field.name}']['en']} `{field.default}`" for field in one.parameters),
        )
        for one in TEMPLATES.values()
    ]


def test_documented_example_finds_the_documented_users() -> None:
    with tenant() as connection:
        examples = rows("Example")
        assert {text: found(connection, text) for text, _ in examples} == dict(examples)
    assert len(examples) == 47
    assert f"T = {NOW.isoformat().replace('+00:00', 'Z')}, in {ZONE}" in TEXT


def test_documented_refusals_are_refused() -> None:
    refused = [
        re.findall(r"^\| `([^|]*?)` \|", line)[0] for line in section("What is refused").splitlines() if "| `" in line
    ]
    for text in refused:
        with pytest.raises(UserError, match="BAD_RULE: at character"):
            parse_rule(text, timezone=ZONE)
    assert len(refused) == 26


def test_documented_json_equals_the_second_rule() -> None:
    [block] = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    rule = parse_rule(BLOCKS[1])
    assert rule_record(rule) == json.loads(block)
    jsonschema_rs.validate(json.loads((ROOT / "schemas" / "rule.schema.json").read_text()), json.loads(block))
    assert f"is `{rule_hash(rule)}`" in " ".join(TEXT.split())


def test_documented_limits_and_keywords_match_the_code() -> None:
    text = " ".join(TEXT.split())
    assert f"more than {MAX_CHARACTERS:,} characters, or more than {MAX_TERMS:,} conditions and values" in text
    assert f"compared with 0 to {MAX_TIMES:,} times" in text
    assert f"up to {MAX_NAME} characters" in text
    [words] = re.findall(r"words of the language as names \(`([^`]*)`\)", text)
    assert set(words.split()) == RULES.reserved
