"""From a token to a caller."""

import pytest

from orchestration.access.authentication import authenticate
from orchestration.access.grants import DAY_MS
from orchestration.access.policy import Action
from orchestration.access.tokens import Token
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from tests.fakes.tenants import ACME, BETA, World, id_of

REQUEST = id_of("acme", 99)


def refusal(world: World, text: str, *, after_ms: int = 0) -> UserError:
    with pytest.raises(UserError) as refused:
        authenticate(world.services.tokens, text, request_id=REQUEST, now_ms=now_ms() + after_ms)
    assert text not in str(refused.value)
    return refused.value


def test_token_has_the_rights_shared_by_its_cap_and_grants(world: World) -> None:
    token = world.add_token("acme-engineer", {(ACME, "viewer"), (BETA, "admin")}, 1000)
    caller = authenticate(world.services.tokens, token.text.reveal(), request_id=REQUEST, now_ms=now_ms())
    assert (caller.principal.name, caller.token and caller.token.token_id) == ("acme-engineer", token.token_id)
    assert caller.rights.in_tenant(ACME) == {Action.OWN_ACCOUNT, Action.READ_JOBS, Action.READ}
    assert caller.rights.in_tenant(BETA) == frozenset()


def test_a_token_loses_a_right_as_soon_as_its_owner_does(world: World) -> None:
    assert Action.READ in world.caller("acme-viewer").rights.in_tenant(ACME)
    world.services.principals.replace_grants(ACME, {}, now_ms=1, check=lambda *_: None)
    assert world.caller("acme-viewer").rights.in_tenant(ACME) == frozenset()


def test_unknown_id_and_wrong_secret_are_refused_alike(world: World) -> None:
    own = world.tokens["acme-viewer"]
    other_secret = Token.make(own.token_id, bytes(range(32)))
    unknown = Token.make(REQUEST, bytes(range(32)))
    assert refusal(world, other_secret.text.reveal()).as_record() == refusal(world, unknown.text.reveal()).as_record()
    assert refusal(world, unknown.text.reveal()).code == "TOKEN_REFUSED"


def test_a_token_is_valid_until_the_millisecond_it_expires(world: World) -> None:
    at_ms = now_ms()
    token = world.add_token("acme-viewer", {(ACME, "viewer")}, 1000, expires_at_ms=at_ms + DAY_MS).text.reveal()
    authenticate(world.services.tokens, token, request_id=REQUEST, now_ms=at_ms + DAY_MS - 1)
    with pytest.raises(UserError) as refused:
        authenticate(world.services.tokens, token, request_id=REQUEST, now_ms=at_ms + DAY_MS)
    assert refused.value.code == "TOKEN_EXPIRED"


def test_revoked_token_is_refused_within_its_lifetime(world: World) -> None:
    token = world.tokens["acme-viewer"]
    world.services.tokens.revoke(token.token_id, now_ms=5)
    assert refusal(world, token.text.reveal()).code == "TOKEN_REVOKED"


def test_catalog_stores_no_token(world: World) -> None:
    with world.services.database.read() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert world.tokens["acme-viewer"].digest in dump
    assert not any(token.text.reveal().split("_")[2] in dump for token in world.tokens.values())
