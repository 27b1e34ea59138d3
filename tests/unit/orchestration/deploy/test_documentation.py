"""docs/deploy.md agrees with the template that it explains, and with the settings that it lists."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from orchestration.deploy.settings import DeploySettings
from orchestration.workflow.resources import WORKFLOW
from tests.unit.orchestration.deploy.conftest import Template

TEXT = (Path(__file__).parents[4] / "docs" / "deploy.md").read_text(encoding="utf-8")
OF_S3 = {"EventBridgeConfiguration"}


def section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_name_on_the_way_of_an_import_is_in_the_template_or_the_definition(template: Template) -> None:
    states = set(json.loads((WORKFLOW / "import_audience.asl.json").read_text())["States"])
    resources = set(template.body["Resources"])
    named = set(
        re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", section("One import, through the template") + section("Watching"))
    )
    assert len(named) > 40
    assert named - states - OF_S3 - resources - set(template.body["Outputs"]) == set()
    assert resources >= {"InboxRule", "ImportAudience", "WorkerService", "LakeBucket"}
    assert {"SetupCommand"} <= set(template.body["Outputs"])


def test_every_setting_is_listed() -> None:
    listed = section("1. Settings")
    hints = get_type_hints(DeploySettings)
    for field in fields(DeploySettings):
        kind = hints[field.name]
        if not is_dataclass(kind):
            assert f"`{field.name}`" in listed, field.name
            continue
        (row,) = [
            line for line in listed.splitlines() if line.startswith("|") and f"`{field.name}`" in line.split("|")[1]
        ]
        missing = [f.name for f in fields(kind) if f"`{f.name.rstrip('_')}`" not in row]
        assert missing == [], field.name


def test_listed_defaults_match_the_settings() -> None:
    listed = section("1. Settings")
    hints = get_type_hints(DeploySettings)
    for table, name, value in re.findall(r"^\| `(\w+)` \|.*?`(\w+)` \[(\d+)\]", listed, re.MULTILINE):
        default = {f.name: f.default for f in fields(hints[table])}[name]
        assert default == int(value), (table, name)
