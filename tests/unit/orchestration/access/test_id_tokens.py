"""Valid ID tokens are accepted, altered ones refused."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from orchestration.access.oidc.id_tokens import MAX_TOKEN, Claims, key_id, key_of, verify
from orchestration.access.oidc.settings import ALGORITHMS
from schemas.errors import UserError

ISSUER, CLIENT, NONCE, NOW_S = "https://id.example", "muster", "n" * 43, 1_800_000_000
RSA, OTHER_RSA = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("rsa", "rsa"))
EC, ED = ECKey.generate_key("P-256", {"kid": "ec"}), OKPKey.generate_key("Ed25519", {"kid": "ed"})
GOOD = {
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": "4711",
    "exp": NOW_S + 60,
    "iat": NOW_S,
    "nonce": NONCE,
    "preferred_username": "ana",
    "groups": ["analysts", "others"],
}
ABSENT = object()


def claims(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not ABSENT}


def token(key: Any = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return str(jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, claims(**changes), key, algorithms=[alg]))


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def check(text: str, key: Any = RSA, algorithms: tuple[str, ...] = ALGORITHMS, groups_claim: str = "groups") -> Claims:
    return verify(
        text,
        key,
        issuer=ISSUER,
        client_id=CLIENT,
        nonce=NONCE,
        algorithms=algorithms,
        groups_claim=groups_claim,
        now_s=NOW_S,
    )


def refusal(text: str, key: Any = RSA, algorithms: tuple[str, ...] = ALGORITHMS) -> str:
    with pytest.raises(UserError) as refused:
        check(text, key, algorithms)
    assert refused.value.code == "LOGIN_REFUSED"
    assert NONCE not in refused.value.message
    assert text not in refused.value.message
    return refused.value.message


def test_valid_token_identifies_the_person() -> None:
    assert check(token()) == Claims(subject="4711", name="ana", groups=frozenset({"analysts", "others"}))


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256")])
def test_every_algorithm_counts_only_if_it_is_allowed(key: Any, alg: str) -> None:
    assert check(token(key, alg), key).subject == "4711"
    others = tuple(one for one in ALGORITHMS if one != alg)
    assert "algorithm" in refusal(token(key, alg), key, others)


def test_a_token_without_a_signature_is_refused() -> None:
    for name in ("none", "None", "NONE", ""):
        for signature in (b"", b"x"):
            assert "signature" in refusal(by_hand({"alg": name, "kid": "rsa"}, claims(), signature))
    assert "signature" in refusal(by_hand({"kid": "rsa"}, claims()))


def test_public_key_is_refused_as_a_shared_secret() -> None:
    """The classic confusion: HS256 over what everyone can read."""
    for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
        signed = by_hand({"alg": "HS256", "kid": "rsa"}, claims()).rpartition(".")[0]
        mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
        text = f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        assert "algorithm" in refusal(text)


def test_the_signature_of_another_key_is_refused() -> None:
    assert "signature" in refusal(token(OTHER_RSA))
    assert "signature" in refusal(token(), OTHER_RSA)
    assert "signature" in refusal(token(), EC)
    assert "signature" in refusal(token(EC, "ES256"), RSA)


def test_altered_token_is_refused() -> None:
    header, payload, signature = token().split(".")
    changed = by_hand({}, claims(sub="1")).split(".")[1]
    assert "signature" in refusal(f"{header}.{changed}.{signature}")
    assert "signature" in refusal(f"{header}.{payload}.")
    assert "signature" in refusal(f"{header}.{payload}.{signature[:-6]}AAAAAA")


def test_unknown_critical_header_is_refused() -> None:
    signed = by_hand({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}, claims(), b"x")
    assert "signature" in refusal(signed)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": ABSENT}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"aud": "other"}, "another application"),
        ({"aud": []}, "another application"),
        ({"aud": ABSENT}, "another application"),
        ({"aud": ["other"]}, "another application"),
        ({"aud": [CLIENT, "other"]}, "another application"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "another application"),
        ({"azp": "other"}, "another application"),
        ({"nonce": "m" * 43}, "another login"),
        ({"nonce": ABSENT}, "another login"),
        ({"nonce": 5}, "another login"),
        ({"exp": NOW_S - 300}, "expired"),
        ({"exp": ABSENT}, "expired"),
        ({"exp": "never"}, "expired"),
        ({"exp": True}, "expired"),
        ({"iat": NOW_S + 301}, "future"),
        ({"iat": ABSENT}, "future"),
        ({"nbf": NOW_S + 301}, "not valid yet"),
        ({"nbf": "x"}, "not valid yet"),
        ({"sub": ""}, "no valid subject"),
        ({"sub": ABSENT}, "no valid subject"),
        ({"sub": 5}, "no valid subject"),
        ({"sub": "x" * 256}, "no valid subject"),
    ],
)
def test_a_token_for_anything_else_is_refused(changes: dict[str, Any], why: str) -> None:
    assert why in refusal(token(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW_S - 299},
        {"iat": NOW_S + 300},
        {"nbf": NOW_S + 300},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"aud": CLIENT, "azp": CLIENT},
    ],
)
def test_five_minutes_of_clock_skew_and_several_audiences_are_accepted(changes: dict[str, Any]) -> None:
    assert check(token(**changes)).subject == "4711"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"preferred_username": ABSENT, "email": "ana@acme.example"}, "ana@acme.example"),
        ({"preferred_username": " ", "name": "Ana"}, "Ana"),
        ({"preferred_username": "a\nb"}, "4711"),
        ({"preferred_username": 5}, "4711"),
    ],
)
def test_name_is_the_first_displayable_claim(changes: dict[str, Any], name: str) -> None:
    assert check(token(**changes)).name == name


@pytest.mark.parametrize(
    ("groups", "found"),
    [(ABSENT, set()), ([], set()), ("one", {"one"}), (["a", 5, None], {"a"}), ({"a": 1}, set()), (5, set())],
)
def test_groups_are_the_texts_of_their_claim(groups: Any, found: set[str]) -> None:
    assert check(token(**{"cognito:groups": groups}), groups_claim="cognito:groups").groups == found


@pytest.mark.parametrize(
    "text", ["", "x", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "x" * MAX_TOKEN + "..", "bnVsbA.e30.", "W10.e30."]
)
def test_malformed_id_token_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        key_id(text)
    assert refused.value.code == "LOGIN_REFUSED"


def test_token_names_its_key_unless_there_is_only_one() -> None:
    keys = KeySet([RSA, EC, ED])
    assert key_of(keys, key_id(token(EC, "ES256"))) is EC
    assert key_of(keys, "other") is None
    assert key_of(keys, None) is None
    assert key_of(KeySet([RSA]), None) is RSA
