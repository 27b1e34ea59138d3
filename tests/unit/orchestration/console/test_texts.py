"""The catalogue has every text, in both languages, and no unused text."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

import orchestration.console
from connectors.sources.findings import FindingCode
from connectors.sources.rejects import RejectCode
from orchestration.access.listed import ORDERS
from orchestration.access.policy import TENANT_ROLES
from orchestration.console.audience_settings import FOLDERS
from orchestration.console.export_form import COMPRESSIONS, FORMATS
from orchestration.console.formatting import amount, duration, percent, signed, size
from orchestration.console.frame import THEMES
from orchestration.console.job_texts import FINAL, RUNNING
from orchestration.console.language import LANGUAGES, Texts, catalogue, preferred
from orchestration.console.pages.differences import KINDS as KINDS_OF_CHANGES
from orchestration.console.pages.jobs import STATE_FILTERS
from orchestration.console.pages.schedule_form import KINDS as SCHEDULED
from orchestration.console.pages.schedules import RUNS
from orchestration.console.rule_rows import BOUNDS, NEAR, QUANTITIES, TESTS_OF_ATTRIBUTES, UNITS_SHOWN
from orchestration.console.rule_rows import KINDS as KINDS_OF_ROWS
from orchestration.console.timing import ALL_MONTHS, EVERY, WEEKDAYS
from orchestration.notifications.outbox import Outcome
from orchestration.operations.connecting import FORMS
from orchestration.operations.follow import STAGES, PartitionState
from orchestration.records.access import PrincipalKind
from schemas.columns import ImportMode
from schemas.dead_letters import DeadLetterState
from schemas.errors import FatalError, RetriableError, UserError
from schemas.job_kinds import JOB_KINDS
from schemas.text_form import DELIMITER_NAMES
from segmentation.rules.templates import TEMPLATES
from segmentation.scaling import Scaled
from segmentation.versions import VersionMode

FOLDER = Path(orchestration.console.__file__).parent
KEY = re.compile(r"""\bt\(\s*f?["']([^"'{}]*)["']""")
FAMILIES: Mapping[str, set[str]] = {
    "state": {*FINAL, *RUNNING},
    "stage": {"upload", *STAGES},
    "stage_state": {"waiting", "running", "done", "stopped"},
    "kind": set(JOB_KINDS),
    "jobs.filter": {"", *STATE_FILTERS},
    "list.by": set(ORDERS),
    "mode": set(get_args(ImportMode)),
    "partition": set(get_args(PartitionState)),
    "receipt": {
        *("rows", "accepted", "rejected", "distinct", "stored", "duplicates"),
        *("before", "members", "kept", "changed", "removed", "added"),
    },
    "reject": set(RejectCode),
    "role": set(TENANT_ROLES),
    "version_mode": set(get_args(VersionMode)) | set(get_args(ImportMode)),
    "run": set(RUNS),
    "schedule_kind": set(SCHEDULED),
    "schedules.runs": set(SCHEDULED),
    "when": {f"{every}_{unit}" for every in ("every", "each") for unit in ("day", "hour", "minute")},
    "when.choice": set(EVERY),
    "when.weekday": set(map(str, WEEKDAYS)),
    "when.month": set(map(str, ALL_MONTHS)),
    "when.nth": {"1", "2", "3", "4", "5"},
    "setting": {
        *("mode", "id_column", "max_rejects", "max_shrink", "allow_empty", "format", "timezone", "null_values"),
        *("delimiter", "encoding", "lacking", "folders", "retention"),
    },
    "setting.folders_are": set(FOLDERS),
    "export.format_of": set(FORMATS),
    "export.compression_of": set(COMPRESSIONS),
    "segment": {"uses_events", "uses_attributes", "uses_audiences", "uses_segments"},
    "template": {
        *TEMPLATES,
        *(f"{template.name}.{one.name}" for template in TEMPLATES.values() for one in template.parameters),
    },
    "builder": {
        *(f"kind_{kind}" for kind in KINDS_OF_ROWS),
        *(f"quantity_{one}" for one in QUANTITIES),
        *(f"bound_{one}" for one in (*BOUNDS, *NEAR)),
        *(f"unit_{one}" for one in UNITS_SHOWN),
        *("property", "attribute", "split_before", "split_from"),
    },
    "builder.of": {"events", "audiences", "segments", "splits"},
    "builder.test": set(TESTS_OF_ATTRIBUTES),
    "connections.tool": {"environment", "cli", "curl", "python", "files", *FORMS},
    "connections.address": {"kafka", "topics", "s3", "region", "inbox", "lake"},
    "grants": set(get_args(PrincipalKind)),
    "notifications.outcome": set(get_args(Outcome)),
    "dead_letters.done": {"sent", "dismissed", "already"},
    "dead_letters.state": set(get_args(DeadLetterState)) - {"open"},
    "difference": {"earlier", "later"},
    "difference.kind": set(KINDS_OF_CHANGES),
    "finding": {
        *get_args(FindingCode),
        *("encoding_unclear", "encoding_read", "separator_read", "sometimes_typed", "null_like_user"),
    }
    - {"not_of_this_kind"},
    "delimiter": set(DELIMITER_NAMES),
    "workers.rests": set(Scaled),
    "workers.starts": {Scaled.WORKER, Scaled.SEGMENT_WORKER},
    "feeds": {"waiting", "members", "changes", "paused", "halted"},
    "feeds.segment": {"paused", "deleted", "missing"},
    "feeds.shapes": {"changes", "state"},
    "feeds.starts": {"all", "now"},
    "sql.mode": set(get_args(ImportMode)),
    "theme": {"system", *THEMES},
    "unit": {"day", "hour", "minute", "second"},
}
"""Keys whose end comes from data. `problem` has those codes that have a text of their own."""
CHOSEN = {
    "job.rate_bytes",
    "job.rate_rows",
    "jobs.new_more",
    "notifications.given_up",
    "notifications.waiting",
    "schedules.active",
    "schedules.over",
    "schedules.paused",
    "tokens.active",
    "tokens.expired",
    "tokens.revoked",
}
"""Keys that an expression chooses."""


def used() -> set[str]:
    found: set[str] = set(CHOSEN)
    for file in [*FOLDER.rglob("*.html"), *FOLDER.rglob("*.py")]:
        found |= {key for key in KEY.findall(file.read_text("utf-8")) if not key.endswith(".")}
    found |= {f"{family}.{end}" for family, ends in FAMILIES.items() for end in ends}
    return found | {key for key in catalogue() if key.startswith(("problem.", "menu.", "dead_letter."))}


def forms(key: str, language: str) -> Iterator[str]:
    text = catalogue()[key][language]
    yield from [text] if isinstance(text, str) else text.values()


def test_texts_are_complete_and_all_used() -> None:
    assert used() - catalogue().keys() == set()
    assert catalogue().keys() - used() == set()


@pytest.mark.parametrize("key", catalogue())
def test_text_is_complete_in_both_languages(key: str) -> None:
    entry = catalogue()[key]
    assert entry.keys() == set(LANGUAGES)
    places = {
        language: {frozenset(re.findall(r"{(\w+)}", form)) for form in forms(key, language)} for language in entry
    }
    assert places["en"] == places["ja"]
    assert all(form.strip() for language in entry for form in forms(key, language))
    english = entry["en"]
    assert isinstance(english, str) or english.keys() == {"one", "other"}
    japanese = " ".join(forms(key, "ja"))
    assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", japanese), f"{key} is not translated: {japanese}"


def test_a_text_of_a_problem_belongs_to_a_code_of_the_source() -> None:
    codes = {key.split(".")[1] for key in catalogue() if key.startswith("problem.") and key.count(".") == 2}
    folders = [FOLDER.parent, *(FOLDER.parents[1] / name for name in ("connectors", "segmentation", "schemas"))]
    assert codes >= {one.kind for one in (UserError, RetriableError, FatalError)}
    source = "\n".join(f.read_text() for folder in folders for f in folder.rglob("*.py"))
    assert {code for code in codes if code.isupper() and f'"{code}"' not in source} == set()


def test_no_text_names_an_option_or_a_command_of_the_command_line() -> None:
    """What a page asks for can be done on pages; `muster console` opens them, and connections are for programs."""
    option, command = re.compile(r"--[a-z]"), re.compile(r"`?muster (?!console)[a-z]+ ?[a-z]*`")
    texts = {key: [*forms(key, "en"), *forms(key, "ja")] for key in catalogue()}
    texts |= {
        f.name: [re.sub(r"<!--.*?-->", "", f.read_text("utf-8"))]
        for f in FOLDER.rglob("*.html")
        if f.name != "connections.html"
    }
    assert {
        key for key, found in texts.items() for text in found if option.search(text) or command.search(text)
    } == set()


def test_plurals_follow_the_language() -> None:
    assert [Texts("en")("jobs.new", count=n) for n in (0, 1, 2, 1000)] == [
        "0 new jobs",
        "1 new job",
        "2 new jobs",
        "1,000 new jobs",
    ]
    assert [Texts("ja")("jobs.new", count=n) for n in (1, 1000)] == ["新しいジョブ 1 件", "新しいジョブ 1,000 件"]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,en;q=0.5", "ja"),
        ("fr,ja;q=0.2,en;q=0.3", "en"),
        ("de", "en"),
        ("ja;q=x,en", "en"),
        ("ja;q=0", "en"),
        ("*", "en"),
    ],
)
def test_browser_language_is_used(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_values_look_alike_everywhere() -> None:
    en, ja = Texts("en"), Texts("ja")
    assert [duration(s, en) for s in (0, 14.4, 60, 185, 7800, 90000)] == [
        "0 s",
        "14 s",
        "1 min",
        "3 min 5 s",
        "2 h 10 min",
        "1 d 1 h",
    ]
    assert duration(185, ja) == "3 分 5 秒"
    assert [percent(n, 1000) for n in (0, 1, 500, 999, 1000)] == ["0 %", "1 %", "50 %", "99 %", "100 %"]
    assert [amount(n) for n in (0, 0.04, 0.44, 3.0, 9.96, 1234.5)] == ["0", "< 0.1", "0.4", "3", "10.0", "1,234"]
    assert [signed(n) for n in (0, 1200, -5)] == ["0", "+1,200", "−5"]
    assert [size(n) for n in (None, 12, 2048, 150 * 2**20)] == ["–", "12 bytes", "2.0 KiB", "150 MiB"]
