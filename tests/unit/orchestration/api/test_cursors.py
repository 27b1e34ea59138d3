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
def test_a_cursor_comes_back_for_the_same_list_and_filters(key: str, filters: dict[str, str]) -> None:
    assert decode(PATH, filters, encode(PATH, filters, key)) == key


def test_a_filter_that_is_not_given_is_no_filter() -> None:
    assert decode(PATH, {"kind": None, "state": []}, encode(PATH, {}, "k")) == "k"
    assert len(encode(PATH, {}, "k" * 100)) < MAX_LENGTH


@pytest.mark.parametrize(
    ("path", "filters"), [("/v1/tenants/beta/jobs", {"state": "x"}), (PATH, {}), (PATH, {"state": "y"})]
)
def test_a_cursor_of_another_list_or_of_other_filters_is_refused(path: str, filters: dict[str, str]) -> None:
    with pytest.raises(UserError) as refused:
        decode(path, filters, encode(PATH, {"state": "x"}, "k"))
    assert refused.value.code == "BAD_CURSOR"


@given(st.text(max_size=MAX_LENGTH))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        decode(PATH, {}, text)
    assert refused.value.code == "BAD_CURSOR"


def test_a_cursor_with_a_control_character_in_its_key_is_refused() -> None:
    with pytest.raises(UserError):
        decode(PATH, {}, encode(PATH, {}, "a\0"))


def test_an_entity_tag_comes_back_as_it_was_sent() -> None:
    assert seen_revision(etag("a1b2")) == "a1b2"
    with pytest.raises(UserError) as missing:
        seen_revision(None)
    assert missing.value.code == "NO_ETAG"


@pytest.mark.parametrize("given", ["*", "a1b2", 'W/"a1b2"', '"a", "b"', '""', '"a b"', ""])
def test_any_other_if_match_is_refused(given: str) -> None:
    with pytest.raises(UserError) as refused:
        seen_revision(given)
    assert refused.value.code == "BAD_ETAG"


def test_a_budget_is_a_burst_that_fills_up_again_for_each_principal() -> None:
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
