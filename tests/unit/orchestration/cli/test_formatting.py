"""Numbers, sizes and times for human readers; foreign text that cannot harm a terminal."""

import pytest

from orchestration.cli import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (999_499, "999 kB"), (215_000_000, "215 MB")],
)
def test_sizes_have_three_digits_at_most(value: int, text: str) -> None:
    assert formatting.size(value) == text


def test_singular_and_plural_are_distinguished() -> None:
    assert [formatting.counted(n, "file") for n in (0, 1, 2_000)] == ["0 files", "1 file", "2,000 files"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(52_100_000, "bytes", "52.1 MB/s"), (950, "rows", "950 rows/s"), (1_200_000, "rows", "1.2 M rows/s")],
)
def test_rates_name_what_they_count(value: float, unit: str, text: str) -> None:
    assert formatting.rate(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (65, "1 min 5 s"), (3_725, "1 h 2 min"), (200_000, "2 d 7 h"), (-3, "0 s")],
)
def test_durations_use_two_units(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


def test_hundred_percent_means_complete() -> None:
    assert formatting.percent(999_999, 1_000_000) == " 99 %"
    assert formatting.percent(1_000_000, 1_000_000) == "100 %"
    assert formatting.percent(0, 0) == "100 %"


def test_a_bar_is_never_longer_than_its_width() -> None:
    assert formatting.bar(0.5, 4) == "━━──"
    assert formatting.bar(7.0, 4) == "━━━━"
    assert formatting.bar(-1.0, 4) == "────"


def test_outside_text_cannot_control_the_terminal() -> None:
    assert formatting.safe("a\x1b[2Jb\nc\u202e") == "a\\x1b[2Jb\\nc\\u202e"
    assert formatting.safe("Grüße 🎉") == "Grüße 🎉"


def test_long_text_is_cut_in_the_middle() -> None:
    assert formatting.shorten("abcdefghij", 5) == "ab…ij"
    assert formatting.shorten("abc", 5) == "abc"


def test_times_within_a_text_are_written_as_those_beside_it() -> None:
    text = "3 members as of 2026-11-24T18:12:58.123Z, then 2026-11-24T18:13:00Z"
    assert formatting.without_iso(text) == "3 members as of 2026-11-24 18:12:58, then 2026-11-24 18:13:00"


def test_ages_and_times_use_one_unit() -> None:
    assert formatting.age(0, 59_999) == "59 s"
    assert formatting.age(0, 7_200_000) == "2 h"
    assert formatting.clock_time(0) == "1970-01-01 00:00:00"


def test_control_characters_of_a_cell_become_escapes_and_line_breaks_stay() -> None:
    assert formatting.without_controls("\x1b[31mred\x07\u202e") == "\\x1b[31mred\\x07\\u202e"
    assert formatting.without_controls("two\nlines\tand a tab") == "two\nlines\tand a tab"
    assert formatting.without_controls("名古屋") == "名古屋"
    assert [formatting.without_controls(value) for value in (7, None, 1.5)] == [7, None, 1.5]
