"""One synthesis for all tests, since it takes some ten seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestration.deploy.checks import load
from orchestration.deploy.settings import Api, DeploySettings
from orchestration.deploy.synthesis import prepare, synthesise

API = Api(
    host="muster.acme.example",
    certificate="arn:aws:acm:eu-central-1:123456789012:certificate/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    clients=("10.0.0.0/8",),
    oidc_issuer="https://login.acme.example",
    oidc_client_id="muster",
    oidc_secret="arn:aws:secretsmanager:eu-central-1:123456789012:secret:muster-oidc-AbCdEf",
    oidc_grants='{"data-platform": {"deployment": ["admin"]}}',
)
"""The example has no service."""
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
