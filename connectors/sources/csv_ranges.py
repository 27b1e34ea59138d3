"""Where the first record of a range of CSV probably begins."""

from typing import Final

import numpy as np

from connectors.sources import csv_kernel as kernel

PROBE_BYTES: Final = 256 * 1024
"""Read from each likely begin, to compare how many records are wrong."""
_RECORDS: Final = 8 * 1024
_QUOTE: Final = 34
_NONE_SOUND: Final = 2.0
"""Share of wrong records where there are none at all: no other share is as bad."""


def guess_begin(window: bytes, *, fields: int, limit: int, probe: int = PROBE_BYTES, ends: bool) -> int | None:
    """Position in `window` where the first record that begins behind its first byte probably begins. None if unknown.

    Two hypotheses, no quote or a quote open behind the first byte, give a begin each. The one is taken from which
    `probe` bytes have the smaller share of wrong records; on a tie, the earlier. `fields`: that a record has. `limit`:
    largest record in bytes. `ends`: whether the file ends with the window.
    """
    if not window:
        return None
    d = np.frombuffer(bytearray(window), np.uint8)  # writable, as the compiled kernels expect it
    first = 1
    while first < len(d) and d[first - 1] == _QUOTE:
        first += 1  # not between the two of a doubled quote; no line end is passed
    judged = []
    for machine in (kernel.UNQUOTED, kernel.QUOTED):
        skip = np.array([machine, 0, 0, -1, -1, 0], np.int64)
        begin = int(kernel.skip_record(d, first - 1 if machine == kernel.UNQUOTED else first, len(d), 0, skip))
        if skip[kernel.SKIP_DONE]:
            judged.append((_share_of_wrong(d, begin, fields, limit, probe, ends=ends), begin))
    if judged:
        return min(judged)[1]
    return len(d) if ends else None


def _share_of_wrong(d: kernel.Bytes, begin: int, fields: int, limit: int, probe: int, *, ends: bool) -> float:
    end = min(len(d), begin + probe)
    nowhere = np.zeros((1, _RECORDS), np.int32)
    slots, state = np.full(1, -1, np.int32), np.zeros(kernel.STATE_SIZE, np.int64)
    good, bad = np.empty((_RECORDS, 4), np.int64), np.empty((_RECORDS, 6), np.int64)
    kernel.scan(d, begin, end, ends and end == len(d), fields, limit, slots, nowhere, nowhere, good, bad, state)
    sound, wrong = int(state[kernel.GOOD]), int(state[kernel.BAD])
    return wrong / (sound + wrong) if sound + wrong else _NONE_SOUND
