"""One synthesis for all tests, since it takes some ten seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestration.deploy.checks import load
from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.synthesis import prepare, synthesise

EXAMPLE = Path(__file__).parents[4] / "docs" / "muster-deploy.example.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The template of the example, with queries on it."""

    settings: DeploySettings
    body: Mapping[str, Any]

    def of_type(self, type_: str) -> dict[str, dict[str, Any]]:
        """Logical id -> properties."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.body["Resources"].items()
            if resource["Type"] == f"AWS::{type_}"
        }

    def __getitem__(self, logical: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.body["Resources"][logical]["Properties"]
        return properties

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Policy statements of a role."""
        return [s for policy in self[role]["Policies"] for s in policy["PolicyDocument"]["Statement"]]


@pytest.fixture(scope="session")
def template() -> Template:
    prepare()
    settings = load(EXAMPLE)
    return Template(settings=settings, body=synthesise(settings))
