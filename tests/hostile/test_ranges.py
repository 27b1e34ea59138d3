"""Text files cut into ranges anywhere are read as in one pass, and seldom twice."""

import random

from tests.hostile.ranges import HEADS, SPEC, in_ranges, one_pass, wrong

SEED = 1
OPTIONS = {"block_bytes": 64 * 1024}


def test_ranges_cut_anywhere_are_read_as_one_pass_and_as_naive_readers_do() -> None:
    differences, counts = wrong(160, SEED)
    assert differences == []
    assert min(counts[what] for what in ("again", "faults", "rows", "rejects")) > 20


def comments(rows: int) -> bytes:
    """Quoted comments of several lines, which themselves look like rows."""
    chance = random.Random(5)
    lines = (b"plain words, and more", b'a ""quote""', b"u7,x,3", b"", b"https://example.com/?a=1,2")
    body = [b'u%d,"%s",%d\n' % (k, b"\n".join(chance.choices(lines, k=5)), k) for k in range(rows)]
    return HEADS[0] + b"".join(body)


def test_comments_of_many_lines_in_64_ranges_are_read_once() -> None:
    content = comments(20_000)
    size = len(content)
    found, cost = in_ranges(content, SPEC, [size * k // 64 for k in range(1, 64)], OPTIONS, beyond=64 * 1024)
    assert (cost.again, cost.read) == (0, size)
    assert found == one_pass(content, SPEC, OPTIONS)


def test_file_that_never_resynchronises_costs_at_most_two_passes_and_three_rounds() -> None:
    body = b"".join(b'"\n"",1,"\n","x\n' for _ in range(6_000))  # every guess is as good as its opposite
    content = HEADS[0] + b'u,"' + body + b'",1\n'
    size, ranges, beyond = len(content), 64, 1024
    found, cost = in_ranges(content, SPEC, [size * k // ranges for k in range(1, ranges)], OPTIONS, beyond=beyond)
    assert found == one_pass(content, SPEC, OPTIONS)
    assert cost.rounds <= 4
    assert cost.read <= 2 * size + 3 * (size + ranges * beyond)
