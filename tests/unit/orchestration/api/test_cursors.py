"""Cursors, entity tags and budgets: the small parts of the API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.api.cursors import MAX_LENGTH, decode, encode
from orchestration.api.etags import etag, seen_revision
from orchestration.platform.budget import Budget
from schemas.errors import UserError

PATH = "/v1/tenants/acme/jobs"
printable = st.text(st.characters(categories=["L", "N", "P"]), max_size=100)


@given(printable, st.dictionaries(st.sampled_from(["kind", "state"]), printable))
def test_cursor_round_trips_for_its_list_and_filters(key: str, filters: dict[str, str]) -> None:
    assert decode(PATH, filters, encode(PATH, filters, key)) == key


def test_omitted_filter_does_not_filter() -> None:
    assert decode(PATH, {"kind": None, "state": []}, encode(PATH, {}, "k")) == "k"
    assert len(encode(PATH, {}, "k" * 100)) < MAX_LENGTH


@pytest.mark.parametrize(
    ("path", "filters"), [("/v1/tenants/beta/jobs", {"state": "x"}), (PATH, {}), (PATH, {"state": "y"})]
)
def test_cursor_of_another_list_or_filter_is_refused(path: str, filters: dict[str, str]) -> None:
    with pytest.raises(UserError) as refused:
        decode(path, filters, encode(PATH, {"state": "x"}, "k"))
    assert refused.value.code == "BAD_CURSOR"


@given(st.text(max_size=MAX_LENGTH))
def test_malformed_cursor_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        decode(PATH, {}, text)
    assert refused.value.code == "BAD_CURSOR"


def test_a_cursor_with_a_control_character_in_its_key_is_refused() -> None:
    with pytest.raises(UserError):
        decode(PATH, {}, encode(PATH, {}, "a\0"))


def test_entity_tag_round_trips() -> None:
    assert seen_revision(etag("a1b2")) == "a1b2"
    with pytest.raises(UserError) as missing:
        seen_revision(None)
    assert missing.value.code == "NO_ETAG"


@pytest.mark.parametrize("given", ["*", "a1b2", 'W/"a1b2"', '"a", "b"', '""', '"a b"', ""])
def test_malformed_if_match_is_refused(given: str) -> None:
    with pytest.raises(UserError) as refused:
        seen_revision(given)
    assert refused.value.code == "BAD_ETAG"


def test_budget_refills_for_each_principal() -> None:
    now = 0.0
    budget = Budget(per_s=2, burst=3, clock=lambda: now)
    for _ in range(3):
        budget.spend("ann")
    for _ in range(2):
        with pytest.raises(UserError) as refused:
            budget.spend("ann")
        assert refused.value.code == "TOO_MANY_REQUESTS"
    budget.spend("bob")
    now = 0.5
    budget.spend("ann")
    with pytest.raises(UserError):
        budget.spend("ann")
    now = 100.0
    for _ in range(3):
        budget.spend("ann")
    with pytest.raises(UserError):
        budget.spend("ann")
