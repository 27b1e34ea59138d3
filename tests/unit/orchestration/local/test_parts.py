"""What the parts of the stack are started with."""

from pathlib import Path

import pytest

from orchestration.local.home import Home
from orchestration.local.parts import KAFKA, RELAY, S3, Context, Part, environment
from orchestration.local.ports import Ports
from orchestration.local.processes import HOME_MARK
from orchestration.platform.settings import Secret, Settings

SECRET = "of-the-store-and-nobody-else"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "JAVA_TOOL_OPTIONS", "MUSTER_SMTP_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    settings = Settings(home=tmp_path, s3_secret_key=Secret(SECRET), webhook_secret=Secret(SECRET))
    return Context(home=Home(path=tmp_path), settings=settings, ports=Ports())


@pytest.mark.parametrize("part", [KAFKA, S3], ids=lambda part: part.name)
def test_third_party_server_gets_no_settings_or_secrets(context: Context, part: Part) -> None:
    found = environment(context, part)
    assert not [name for name in found if name.startswith("MUSTER_") and name != HOME_MARK]
    assert SECRET not in found.values()
    assert {"PATH", HOME_MARK} <= found.keys()


def test_own_part_gets_the_settings(context: Context) -> None:
    assert environment(context, RELAY)["MUSTER_WEBHOOK_SECRET"] == SECRET
