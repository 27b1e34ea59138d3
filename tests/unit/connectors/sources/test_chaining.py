"""Which readings of ranges make up a file, and what to read next if they do not."""

from connectors.sources.chaining import (
    Again,
    Chained,
    Link,
    RangeOutcome,
    chain,
    first_ranges,
    rebased_fault,
)
from connectors.sources.ranges import FileRange
from schemas.errors import UserError

RANGES = first_ranges([100, 200, 300], 400)
FAULT = UserError("UNCLOSED_QUOTE", "the quote opened in line 7 (byte 130) is never closed", line=7).as_record()


def read(begin: int, end: int, rows: int = 10, lines: int = 12) -> RangeOutcome:
    return RangeOutcome(begin=begin, end=end, rows=rows, lines=lines)


def to_read(begin: int, end: int, *, bounded: bool) -> FileRange:
    return FileRange(begin=begin, end=end, size=400, exact=True, bounded=bounded)


def test_ranges_that_follow_one_another_are_the_file() -> None:
    readings = [[read(0, 110)], [read(110, 205)], [read(205, 300)], [read(300, 400)]]
    links = [Link(place=k, reading=0, rows=10 * k, lines=12 * k) for k in range(4)]
    assert chain(RANGES, readings, again=0) == Chained(links=tuple(links))


def test_range_within_a_record_of_an_earlier_one_is_empty() -> None:
    readings = [[read(0, 320)], [read(120, 205)], [RangeOutcome()], [read(320, 400)]]
    assert chain(RANGES, readings, again=0) == Chained(
        links=(Link(place=0, reading=0, rows=0, lines=0), Link(place=3, reading=0, rows=10, lines=12))
    )


def test_wrong_begin_is_read_again_from_the_confirmed_end_and_likely_ones_beside_it() -> None:
    readings = [[read(0, 110)], [read(150, 205)], [read(205, 310)], [read(305, 400)]]
    assert chain(RANGES, readings, again=0) == Again(
        ranges={1: to_read(110, 200, bounded=False), 3: to_read(310, 400, bounded=True)}
    )


def test_second_reading_counts_and_the_first_one_is_kept_in_case_it_fits() -> None:
    readings = [[read(0, 110)], [read(150, 205), read(110, 210)], [read(210, 300), read(205, 300)], [read(300, 400)]]
    found = chain(RANGES, readings, again=1)
    assert isinstance(found, Chained)
    assert [(link.place, link.reading) for link in found.links] == [(0, 0), (1, 1), (2, 0), (3, 0)]


def test_fault_counts_only_at_a_confirmed_begin() -> None:
    guess = RangeOutcome(begin=130, fault=FAULT)
    assert chain(RANGES, [[read(0, 110)], [guess], [read(205, 300)], [read(300, 400)]], again=0) == Again(
        ranges={1: to_read(110, 200, bounded=False)}
    )
    readings = [[read(0, 130)], [guess], [RangeOutcome()], [RangeOutcome()]]
    found = chain(RANGES, readings, again=0)
    assert isinstance(found, Chained)
    assert [link.place for link in found.links] == [0, 1]


def test_after_three_rounds_the_rest_of_the_file_is_read_in_sequence() -> None:
    readings = [[read(0, 110)], [read(150, 205)], [read(206, 310)], [read(305, 400)]]
    assert chain(RANGES, readings, again=3) == Again(ranges={1: to_read(110, 400, bounded=False)})


def test_line_of_a_fault_is_that_of_the_file_in_its_text_too() -> None:
    fault = rebased_fault(
        UserError("UNCLOSED_QUOTE", "the quote opened in line 7 (byte 70) is never closed", line=7, byte_offset=70),
        Link(place=2, reading=0, rows=30, lines=100),
    )
    assert fault.message == "the quote opened in line 107 (byte 70) is never closed"
    assert fault.detail == {"line": 107, "byte_offset": 70}
