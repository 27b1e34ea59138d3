"""The owner token: made at the first start, private, replaced when it is no longer good."""

import stat
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from orchestration.access.authentication import authenticate
from orchestration.access.grants import DAY_MS
from orchestration.access.owner import ensure_owner_token
from orchestration.access.policy import DEPLOYMENT, IN_THE_DEPLOYMENT
from orchestration.composition.service import Services
from orchestration.entrypoints.service import _renew
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.ids import JobId
from tests.fakes.tenants import World, id_of


@pytest.fixture
def services(settings: Settings) -> Services:
    return Services(settings)


def caller_of(services: Services, text: str) -> object:
    return authenticate(services.tokens, text.strip(), request_id=id_of("acme", 1), now_ms=now_ms())


def test_first_start_creates_an_administrator_with_a_private_token(services: Services, settings: Settings) -> None:
    file = ensure_owner_token(services, settings.home)
    assert file == settings.home / "api" / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    caller = authenticate(services.tokens, file.read_text().strip(), request_id=id_of("acme", 1), now_ms=now_ms())
    assert caller.principal.name == "owner"
    assert caller.rights.deployment == set(IN_THE_DEPLOYMENT)


def test_long_running_service_renews_the_token(services: Services, settings: Settings) -> None:
    first = ensure_owner_token(services, settings.home)
    before = first.read_text()
    token = services.tokens.page(limit=1)[0]
    waits = iter([False, False, True])
    stop = cast(threading.Event, SimpleNamespace(wait=lambda _: next(waits)))
    with services.database.write() as connection:
        half = now_ms() + 45 * DAY_MS
        connection.exec_driver_sql("UPDATE api_tokens SET expires_at_ms = ? WHERE token_id = ?", (half, token.token))
    _renew(services, settings, stop)
    assert first.read_text() != before
    caller_of(services, first.read_text())
    assert len(services.tokens.page(limit=9)) == 2


def test_a_later_start_keeps_a_good_token(services: Services, settings: Settings) -> None:
    first = ensure_owner_token(services, settings.home).read_text()
    assert ensure_owner_token(services, settings.home).read_text() == first


@pytest.mark.parametrize("harm", ["lost", "garbled", "revoked"])
def test_start_replaces_an_invalid_token_and_revokes_earlier_ones(
    services: Services, settings: Settings, harm: str
) -> None:
    file = ensure_owner_token(services, settings.home)
    first = file.read_text()
    if harm == "lost":
        file.unlink()
    elif harm == "garbled":
        file.write_bytes(b"\xff")
    else:
        (token,) = services.tokens.page(limit=9)
        services.tokens.revoke(JobId(token.token), now_ms=1)
    second = ensure_owner_token(services, settings.home).read_text()
    assert second != first
    caller_of(services, second)
    with pytest.raises(UserError) as refused:
        caller_of(services, first)
    assert refused.value.code == "TOKEN_REVOKED"


def test_start_renews_a_token_past_half_its_lifetime(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_owner_token(services, settings.home).read_text()
    later = now_ms() + 44 * DAY_MS
    monkeypatch.setattr("orchestration.access.owner.now_ms", lambda: later)
    assert ensure_owner_token(services, settings.home).read_text() == first
    monkeypatch.setattr("orchestration.access.owner.now_ms", lambda: later + 2 * DAY_MS)
    assert ensure_owner_token(services, settings.home).read_text() != first


def test_owner_is_added_to_existing_administrators(world: World) -> None:
    ensure_owner_token(world.services, world.settings.home)
    held = {one.name: one.roles for one in world.services.principals.grants(DEPLOYMENT).items}
    assert held["owner"] == held["deployment-admin"] == ["admin"]


def test_unwritable_token_file_is_named(services: Services, settings: Settings) -> None:
    (settings.home / "api").write_text("a file")
    with pytest.raises(UserError, match=str(settings.home / "api" / "token")) as refused:
        ensure_owner_token(services, settings.home)
    assert refused.value.code == "TOKEN_FILE"
