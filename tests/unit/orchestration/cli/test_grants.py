"""`muster grants` through the service."""

from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id
from tests.unit.orchestration.cli.conftest import answer


def test_all_access_is_withdrawn_after_confirmation(
    service: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = answer(capsys, "grants", "create", "loader", "--service")
    loader = made["principal"]
    answer(capsys, "grants", "set", loader, "--role", "operator", "--tenant", "acme")
    answer(capsys, "grants", "set", loader, "--role", "operator", "--deployment")
    monkeypatch.setattr("typer.confirm", lambda *_, **__: pytest.fail("asked"))
    left = answer(capsys, "grants", "withdraw", loader, "--yes")
    assert (left["name"], left["deployment"], left["tenants"]) == ("loader", [], {})
    assert service.principals.granted(loader) == frozenset()

    answer(capsys, "grants", "set", loader, "--role", "operator", "--tenant", "acme")
    asked: list[str] = []

    def no(text: str, **_: Any) -> None:
        asked.append(text)
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.confirm", no)
    assert main(["grants", "withdraw", loader]) != 0
    assert asked == ["Remove all roles, tokens and sessions of service loader?"]
    assert service.principals.granted(loader) == {("acme", "operator")}
    capsys.readouterr()
    unknown = answer(capsys, "grants", "withdraw", fresh_id(), "--yes", code=3)
    assert unknown["error"]["code"] == "UNKNOWN_PRINCIPAL"
    [owner] = [one["principal"] for one in answer(capsys, "grants", "list", "--deployment")["grants"]]
    last = answer(capsys, "grants", "withdraw", owner, "--yes", code=3)
    assert last["error"]["code"] == "LAST_ADMINISTRATOR"
