"""Timeouts of states by the size of the file; the state machine gets them with the view (TimeoutSecondsPath).

The rates are at most a tenth of what was measured on two cores, so a timeout means that something hangs. Waits for
admission and for workers have heartbeats instead.
"""

from typing import Final

from orchestration.kinds.compute_target import ComputeTarget

MIB: Final = 1024 * 1024
BASE_S: Final = 300
"""For cold starts and small files."""
QUERY_S: Final = 60 * 60
"""For the query of a job whose file is its result; it ends before the state's own time is up."""
LONGEST_S: Final = 24 * 60 * 60
_BYTES_PER_SECOND: Final = {"verify_s": 2 * MIB, "import_s": MIB // 2, "build_s": 2 * MIB, "publish_s": 4 * MIB}
"""`import_s` is the longest: an importer waits for workers when it is far ahead of them."""
_MEMBERS_PER_SECOND: Final = 20_000
MACHINE_START_S: Final = 1_800
"""Until a machine has room: one is started, or the task waits for the maximum number of machines."""
_GROUP_BYTES_PER_SECOND: Final = MIB // 2
"""Of Parquet; as CSV it may be ten times as large."""


def timeouts(size_bytes: int, members: int = 0, target: ComputeTarget = "function") -> dict[str, int]:
    """Timeout of each state in seconds, for a file of this size.

    Building also merges the `members` of the base; publishing re-reads those of the merged version.
    """
    start_s = _start_s(target)
    seconds = {name: start_s + size_bytes // rate for name, rate in _BYTES_PER_SECOND.items()}
    for name in ("build_s", "publish_s"):
        seconds[name] += members // _MEMBERS_PER_SECOND
    return {name: min(value, LONGEST_S) for name, value in seconds.items()}


def group_timeout_s(size_bytes: int, target: ComputeTarget = "function") -> int:
    """Timeout in seconds of writing a group of an export, by the bytes that it reads."""
    return min(_start_s(target) + size_bytes // _GROUP_BYTES_PER_SECOND, LONGEST_S)


def _start_s(target: ComputeTarget) -> int:
    return BASE_S + (MACHINE_START_S if target == "machine" else 0)
