"""The identity provider's metadata and keys, and the settings that name it."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from orchestration.access.oidc.pkce import challenge_of, proves
from orchestration.access.oidc.provider import Provider
from orchestration.access.oidc.settings import OidcSettings, parse_grants, usable
from orchestration.platform.settings import Secret, Settings
from schemas.errors import RetriableError, UserError
from tests.unit.orchestration.access.test_id_tokens import CLIENT, ISSUER, NONCE, NOW_S, token

RSA, LATER = RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "later"})
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": "https://keys.example/jwks",
}


class Fake:
    """What a provider answers. `sent`: all requests to it."""

    def __init__(self, **metadata: Any) -> None:
        self.metadata = {**METADATA, **metadata}
        self.keys: list[Any] = [RSA.as_dict(private=False)]
        self.token: Any = {"id_token": token(RSA)}
        self.status = 200
        self.sent: list[tuple[str, str, bytes | None, Mapping[str, str]]] = []

    def __call__(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.sent.append((method, url, body, headers))
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return 200, json.dumps(self.metadata).encode()
        if url == self.metadata["jwks_uri"]:
            return 200, json.dumps({"keys": self.keys}).encode()
        assert (method, url) == ("POST", self.metadata["token_endpoint"])
        return self.status, self.token if isinstance(self.token, bytes) else json.dumps(self.token).encode()

    def asked(self, url: str) -> int:
        return len([one for one in self.sent if one[1] == url])


def provider(
    fake: Fake, *, secret: str = "secret &", clock: Callable[[], float] = lambda: 0.0, **more: str
) -> Provider:
    settings = OidcSettings.of(
        Settings(oidc_issuer=ISSUER, oidc_client_id=CLIENT, oidc_client_secret=Secret(secret), **more)  # type: ignore[arg-type]
    )
    assert settings
    return Provider(settings, fetch=fake, clock=clock)


def claims(made: Provider) -> str:
    return made.claims(code="c", verifier="v", redirect_uri="https://x/y", nonce=NONCE, now_s=NOW_S).subject


def test_metadata_and_keys_are_kept_for_an_hour() -> None:
    fake, now = Fake(), [0.0]
    made = provider(fake, clock=lambda: now[0])
    for at, fetched in ((0.0, 1), (3600.0, 1), (3601.0, 2)):
        now[0] = at
        assert claims(made) == "4711"
        assert fake.asked(METADATA["jwks_uri"]) == fetched
        assert fake.asked(f"{ISSUER}/.well-known/openid-configuration") == fetched


def test_unknown_key_refetches_keys_at_most_once_a_minute() -> None:
    fake, now = Fake(), [0.0]
    made = provider(fake, clock=lambda: now[0])
    assert claims(made) == "4711"
    fake.token = {"id_token": token(LATER, "ES256")}
    for at, fetched in ((1.0, 1), (60.0, 1), (61.0, 2), (62.0, 2), (120.0, 2)):
        now[0] = at
        with pytest.raises(UserError, match="does not publish") as refused:
            claims(made)
        assert refused.value.code == "LOGIN_REFUSED"
        assert fake.asked(METADATA["jwks_uri"]) == fetched
    fake.keys.append(LATER.as_dict(private=False))
    now[0] = 122.0
    assert claims(made) == "4711"


def test_non_signing_keys_are_ignored() -> None:
    fake = Fake()
    fake.keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
        {**RSA.as_dict(private=False), "use": "enc"},
        {"kty": "unknown", "kid": "rsa"},
        {"kty": "RSA", "kid": "rsa"},
        "x",
        {**RSA.as_dict(private=False), "x5c": ["MII"], "x5t": "a", "issuer": ISSUER, "cloud_instance_name": "x"},
    ]
    assert claims(provider(fake)) == "4711"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": ISSUER + "/"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"token_endpoint": "http://id.example/token"}, "token_endpoint"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
        ({"jwks_uri": "http://127.0.0.1/keys"}, "jwks_uri"),
        ({"authorization_endpoint": None}, "authorization_endpoint"),
    ],
)
def test_metadata_with_foreign_addresses_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RetriableError, match=why) as refused:
        provider(Fake(**changes)).metadata()
    assert refused.value.code == "IDENTITY_PROVIDER_FAILED"


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b"[" * 100_000])
def test_invalid_answer_is_a_provider_error(answer: bytes) -> None:
    fake = Fake()
    fake.token = answer
    with pytest.raises(RetriableError, match="no JSON object"):
        claims(provider(fake))


def test_client_authenticates_by_the_providers_method() -> None:
    for metadata, secret, basic in (
        ({}, "secret &", True),
        ({"token_endpoint_auth_methods_supported": ["client_secret_post"]}, "secret &", False),
        ({}, "", False),
    ):
        fake = Fake(**metadata)
        claims(provider(fake, secret=secret))
        _, _, body, headers = fake.sent[1]
        assert ("Authorization" in headers) == basic
        assert (b"client_secret=secret+%26" in (body or b"")) == (not basic and bool(secret))
        assert (b"client_id=muster" in (body or b"")) == (not basic)
        assert b"code_verifier=v" in (body or b"")


@pytest.mark.parametrize(
    ("url", "issuer", "good"),
    [
        ("https://id.example/x", ISSUER, True),
        ("https://other.example/x", ISSUER, True),
        ("http://id.example/x", ISSUER, False),
        ("http://127.0.0.1:9/x", ISSUER, False),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9", True),
        ("http://localhost:9/x", "http://127.0.0.1:9", True),
        ("http://id.example/x", "http://127.0.0.1:9", False),
        ("https://user@id.example/x", ISSUER, False),
        ("https://id.example/#x", ISSUER, False),
        ("https://id.example:x/", ISSUER, False),
        ("ftp://id.example", ISSUER, False),
        ("", ISSUER, False),
    ],
)
def test_addresses_require_https_except_on_loopback(url: str, issuer: str, good: bool) -> None:  # noqa: FBT001
    assert usable(url, issuer) == good


def test_without_an_issuer_there_is_no_provider() -> None:
    assert OidcSettings.of(Settings()) is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"oidc_issuer": "http://id.example"}, "oidc_issuer"),
        ({"oidc_issuer": "id.example"}, "oidc_issuer"),
        ({"oidc_client_id": ""}, "oidc_client_id"),
        ({"oidc_algorithms": "RS256 HS256"}, "oidc_algorithms"),
        ({"oidc_algorithms": "none"}, "oidc_algorithms"),
        ({"oidc_algorithms": " "}, "oidc_algorithms"),
        ({"oidc_scopes": "email"}, "oidc_scopes"),
        ({"oidc_grants": "x"}, "oidc_grants"),
        ({"oidc_grants": "[]"}, "oidc_grants"),
        ({"oidc_grants": '{"g": []}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"roles": []}}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"deployment": "admin"}}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"deployment": ["viewer"]}}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"tenants": {"acme": ["root"]}}}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"tenants": {"../x": ["viewer"]}}}'}, "oidc_grants"),
        ({"oidc_grants": '{"g": {"tenants": {"": ["admin"]}}}'}, "oidc_grants"),
    ],
)
def test_inconsistent_settings_are_refused_by_name(changes: dict[str, str], name: str) -> None:
    given = {"oidc_issuer": ISSUER, "oidc_client_id": CLIENT, **changes}
    with pytest.raises(UserError, match=name) as refused:
        OidcSettings.of(Settings(**given))  # type: ignore[arg-type]
    assert refused.value.code == "BAD_SETTINGS"


def test_roles_of_groups_add_up() -> None:
    grants = parse_grants('{"a": {"deployment": ["operator"]}, "b c": {"tenants": {"acme": ["viewer", "analyst"]}}}')
    settings = OidcSettings(issuer=ISSUER, client_id=CLIENT, client_secret=Secret(""), grants=grants)
    assert settings.granted({"a", "b c", "d"}) == {("", "operator"), ("acme", "viewer"), ("acme", "analyst")}
    assert settings.granted(()) == frozenset()


def test_challenge_matches_the_rfc_example() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert proves(verifier, challenge_of(verifier))
    assert not proves(verifier[:-1] + "l", challenge_of(verifier))
    assert not proves("é" * 43, challenge_of(verifier))


def test_documented_settings_are_accepted() -> None:
    page = (Path(__file__).parents[4] / "docs" / "access.md").read_text()
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert len(blocks) == 3
    for block in blocks:
        secret = Secret(block.pop("oidc_client_secret", ""))
        found = OidcSettings.of(Settings(**block, oidc_client_secret=secret))
        assert found
        assert ("", "admin") in found.granted(found.grants)
    (grants,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert parse_grants(grants)["acme-analysts"] == {("acme", "analyst"), ("acme", "operator")}
