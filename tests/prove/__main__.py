"""`make prove [EXHIBIT=NAME]`, or `python -m tests.prove [NAME ...]`: run exhibits and write docs/evidence.md.

A stopped exhibit resumes where it was, as long as neither the product nor its tests have changed. The exit code is 1 if
something did not hold; the page says what.
"""

import argparse
import os
import sys
import time
from datetime import UTC, datetime

from tests.prove import evidence
from tests.prove.exhibits import Scale, Section
from tests.prove.kept import Kept
from tests.prove.registry import EXHIBITS


def main(arguments: list[str]) -> int:
    """Run the requested exhibits."""
    names = [exhibit.name for exhibit in EXHIBITS]
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument(
        "exhibits", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all but soak when none is named"
    )
    parser.add_argument("--schedules", type=int, default=Scale().schedules, help="seeds of the simulator")
    parser.add_argument("--files", type=int, default=Scale().burst_files, help="files of the burst")
    parser.add_argument("--rules", type=int, default=Scale().rules, help="rules on Spark")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=60.0, help="the longest time for each exhibit")
    parser.add_argument("--behind", action="store_true", help="say how old each exhibit is; runs nothing")
    given = parser.parse_args(arguments)
    if given.behind:
        print("\n".join(evidence.ages()))
        return 0
    if unknown := set(given.exhibits) - set(names):
        parser.error(f"there is no exhibit {', '.join(sorted(unknown))}")
    scale = Scale(
        schedules=given.schedules,
        burst_files=given.files,
        rules=given.rules,
        processes=given.processes,
        deadline_s=60 * given.minutes,
    )
    commit = evidence.commit()
    if commit.endswith(evidence.CHANGES):
        print("there are changes without a commit: the page will say so, and `make test` refuses it", file=sys.stderr)
    found: dict[str, tuple[Section, str]] = {}
    for exhibit in EXHIBITS:
        if exhibit.name not in given.exhibits and (given.exhibits or exhibit.alone):
            continue
        began = time.monotonic()
        kept = Kept(exhibit.name)
        section = exhibit.run(scale, _say, kept)
        minutes = (time.monotonic() - began) / 60
        when = f"{datetime.now(UTC):%Y-%m-%d}, {minutes:.0f} min, {commit}, on {evidence.machine()}."
        found[exhibit.name] = section, when
        _end_line()
        print(f"{exhibit.title}: {section.summary}")
        for failure in section.failures:
            print(f"  FAILED: {failure}")
        evidence.write(EXHIBITS, found)
        if not section.failures:
            kept.forget()
    return 1 if any(section.failures for section, _ in found.values()) else 0


def _say(text: str) -> None:
    """Print progress: on a terminal as one changing line, elsewhere as one line each."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)
    else:
        print(text, flush=True)


def _end_line() -> None:
    if sys.stdout.isatty():
        print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
