import pytest

from benchmarks.kafka_tools import fetched_in, steady_rate, text_chunk

PRODUCED = """\
Warmup first 100 records. Steady state results will print after the complete test summary.
400 records sent, 171.821306 records/sec (50.88 MB/sec), 413.49 ms avg latency, 1252.00 ms max latency, 338 ms 50th
300 steady state records sent, 259.515571 records/sec (76.85 MB/sec), 325.00 ms avg latency, 745.00 ms max latency
"""
CONSUMED = """\
WARNING: something about the JVM
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms
2026-11-26 02:33:13:891, 2026-11-26 02:33:15:848, 116.6697, 59.6166, 394, 201.3286, 990, 967
"""


def test_lines_of_a_record_are_numbered_and_padded_to_its_size() -> None:
    assert text_chunk(["a,1", "b,22"], 9, 24) == "000009,a,1\n000010,b,22\n "


def test_lines_too_short_for_their_numbers_are_refused() -> None:
    assert text_chunk(["a", "b"], 8, 8) == "8,a\n9,b\n"
    with pytest.raises(ValueError, match="2 lines with their numbers take more than 8 bytes"):
        text_chunk(["a", "b"], 9, 8)


def test_producer_rate_excludes_the_warm_up() -> None:
    assert steady_rate(PRODUCED) == 259.515571


def test_consumer_rate_excludes_the_join_time() -> None:
    assert fetched_in(CONSUMED) == (394, 0.967)


@pytest.mark.parametrize("read", [steady_rate, fetched_in])
def test_silent_tool_is_an_error(read: object) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match="did not say"):
        read("Error: no broker\n")
