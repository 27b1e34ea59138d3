import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from connectors.publishing import importer
from connectors.publishing.backlog import BacklogLimit
from schemas import topics
from schemas.messages import ExportMessage, Message

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")
CONTRACT = (DOCS / "consuming.md").read_text(encoding="utf-8")


def rows_of_table(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_lists_every_message_with_its_fields() -> None:
    documented = {name.strip("`"): carries.split(", ") for name, _, carries in rows_of_table("Messages")}
    assert documented == {t.__name__: [f.name for f in fields(t)] for t in get_args(Message)}


def test_consumer_contract_names_existing_things() -> None:
    rows = re.findall(r"^\| `(Export\w+)` \|[^|]*\| (.*) \|$", CONTRACT, re.MULTILINE)
    named = {name: set(re.findall(r"`(\w+)`", text)) - {"user_id"} for name, text in rows}
    messages = {t.__name__: {f.name for f in fields(t)} for t in get_args(ExportMessage)}
    assert named.keys() == messages.keys()
    assert [(name, given - messages[name]) for name, given in named.items() if given - messages[name]] == []
    assert f"up to {topics.CHUNK_MAX_ROWS:,} rows" in CONTRACT


def test_the_consumers_script_has_the_numbers_of_the_contract() -> None:
    script = (DOCS / "consume_export.py").read_text(encoding="utf-8")
    steps = set(re.findall(r"^(\d)\. ", CONTRACT, re.MULTILINE))
    assert steps == set("12345678")
    assert set(re.findall(r"# (\d)\b", script)) | set(re.findall(r"what step (\d) says", script)) == steps


def test_the_page_lists_every_topic_with_partitions_and_retention() -> None:
    documented = [(name.strip("`"), partitions, days) for name, partitions, _, days in rows_of_table("Topics")]
    assert documented == [
        (t.name, "P" if t.partitions is None else str(t.partitions), retention_in_words(t)) for t in topics.TOPICS
    ]


def retention_in_words(topic: topics.TopicSpec) -> str:
    if topic.cleanup == "compact":
        return "compacted"
    if topic.retention_ms == topics.FOREVER_MS:
        return "for ever"
    return f"{topic.retention_ms // (24 * topics.HOUR_MS)} days"


def test_documented_limits_match_the_code() -> None:
    limit = BacklogLimit()
    text = " ".join(PAGE.split())
    assert f"at most {topics.CHUNK_MAX_ROWS:,} rows" in text
    assert f"at most {topics.CHUNK_MAX_BYTES // 1024} KiB" in text
    assert f"more than {topics.ROW_MAX_BYTES // 1024} KiB" in text
    assert f"at most {limit.chunks:,} chunks and {limit.bytes // 2**20} MiB" in text
    assert f"group `{topics.WORKER_GROUP}`" in text


def test_documented_steps_match_the_importer() -> None:
    def steps(text: str) -> list[str]:
        return [line.split(",")[0].rstrip(".") for line in re.findall(r"^\d\. (.*)$", text, re.MULTILINE)]

    section = PAGE.split("## One attempt, step by step\n", 1)[1].split("\n## ", 1)[0]
    ours = steps(importer.__doc__ or "")
    assert len(ours) == 6
    assert [step[:20] for step in steps(section)] == [step[:20] for step in ours]
