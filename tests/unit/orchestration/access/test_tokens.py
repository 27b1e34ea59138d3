"""The form of tokens, checked without the catalog, and their stored digest."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.access.tokens import Token
from schemas.errors import UserError
from schemas.ids import JobId

ID = JobId("01m87b5fjxy5p23eqzcwh67tr0")


def test_token_consists_of_id_secret_and_checksum() -> None:
    token = Token.make(ID, bytes(range(32)))
    assert token.text.reveal() == "mst_01m87b5fjxy5p23eqzcwh67tr0_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf_00LLPJ"
    assert token.digest == hashlib.sha256(token.text.reveal().encode()).hexdigest()
    assert token.matches(token.digest)
    assert not token.matches(Token.make(ID, bytes(32)).digest)


def test_a_token_does_not_print_its_secret() -> None:
    token = Token.make(ID, bytes(range(32)))
    assert token.text.reveal() not in f"{token!r} {token}"


@given(st.binary(min_size=32, max_size=32))
def test_every_token_parses_back(entropy: bytes) -> None:
    token = Token.make(ID, entropy)
    assert Token.parse(token.text.reveal()) == token


@given(st.integers(0, 80), st.characters())
def test_single_wrong_character_is_detected_without_the_catalog(place: int, other: str) -> None:
    text = Token.make(ID, bytes(range(32))).text.reveal()
    if text[place] == other:
        return
    with pytest.raises(UserError) as refused:
        Token.parse(text[:place] + other + text[place + 1 :])
    assert refused.value.code == "BAD_TOKEN"


@pytest.mark.parametrize("text", ["", "Bearer x", "mst_" + "a" * 200, "\0", "mst_é"])
def test_malformed_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UserError) as refused:
        Token.parse(text)
    assert refused.value.code == "BAD_TOKEN"
    assert not text or text not in str(refused.value)


def test_tokens_with_equal_ids_differ() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        Token.make(ID, b"short")
    assert Token.make(ID, bytes(32)) != Token.make(ID, bytes(range(32)))
