"""Break-glass access: on the catalog itself, without the service."""

import json
from typing import Any

import pytest

from orchestration.access.authentication import Caller, authenticate
from orchestration.access.owner import ensure_owner_token
from orchestration.access.policy import DEPLOYMENT, IN_THE_DEPLOYMENT
from orchestration.cli.main import main
from orchestration.composition.context import Context
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import UserError


@pytest.fixture
def services(context: Context) -> Services:
    return Services(context.settings)


def caller_of(services: Services, text: str) -> Caller:
    return authenticate(services.tokens, text.strip(), request_id=fresh_id(), now_ms=now_ms())


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["identities", "list", "--json"]) == 0
    return {one["name"]: one["roles"] for one in json.loads(capsys.readouterr().out)}


def test_locked_out_administrator_regains_access_beside_others(
    services: Services, context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_owner_token(services, context.settings.home)
    ann = services.principals.add(fresh_id(), kind="person", name="ann", now_ms=1)
    capsys.readouterr()
    for name in ("ann", "zoe"):
        assert main(["identities", "admin-token", name]) == 0
        secret = capsys.readouterr().out
        caller = caller_of(services, secret)
        assert (caller.principal.name, caller.rights.deployment) == (name, frozenset(IN_THE_DEPLOYMENT))
        assert caller.token is not None
        assert 0 < caller.token.expires_at_ms - now_ms() <= 24 * 3600 * 1000
        (entry,) = [one for one in services.audit.search() if one.object == name]
        assert entry.action == "identities admin-token"
        assert secret.strip() not in str(entry)
    assert listed(capsys) == {name: {DEPLOYMENT: ["admin"]} for name in ("ann", "owner", "zoe")}
    assert services.principals.named("ann") == ann


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["ann", "--days", "0"], "BAD_LIFETIME"), (["ann "], "BAD_PRINCIPAL"), ([""], "BAD_PRINCIPAL")],
)
def test_refused_recovery_grants_no_access(
    services: Services, arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identities", "admin-token", *arguments]) != 0
    assert code in capsys.readouterr().err
    assert services.principals.page(limit=9) == []


def test_new_owner_token_revokes_the_earlier_one(
    services: Services, context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ensure_owner_token(services, context.settings.home)
    earlier = file.read_text()
    assert main(["identities", "rotate-owner"]) == 0
    assert str(file) in capsys.readouterr().out
    assert caller_of(services, file.read_text()).principal.name == "owner"
    with pytest.raises(UserError) as refused:
        caller_of(services, earlier)
    assert refused.value.code == "TOKEN_REVOKED"


def test_aws_deployment_stores_no_owner_token_file(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_ENGINE_URL", "")
    assert main(["identities", "rotate-owner"]) != 0
    assert "NO_OWNER_TOKEN" in capsys.readouterr().err
    assert services.tokens.page(limit=1) == []
