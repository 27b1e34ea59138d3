"""Hostile files against Muster's readers: python -m tests.hostile --help."""

import argparse
import sys
from pathlib import Path

from connectors.sources.limits import MIB
from tests.hostile import corpus_files
from tests.hostile.running import PARTS, SCALES, run

WRONG_SHOWN = 20


def main() -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full", help="how much (default: full)")
    parser.add_argument("--only", choices=PARTS, action="append", default=[], help="a part; may be given again")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzing (default: 1)")
    parser.add_argument("--findings", type=Path, metavar="FOLDER", help="where files that are misread are put")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="put a file into the corpus, and end")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        print(corpus_files.keep(arguments.keep.read_bytes(), arguments.keep.suffix))
        return 0
    bad = 0
    for row in run(arguments.scale, seed=arguments.seed, only=tuple(arguments.only)):
        note = f" ({row.note})" if row.note else ""
        memory = f"{row.peak // MIB} of {row.bound // MIB} MiB, " if row.bound else ""
        print(
            f"{row.part:14} {row.files:7} files {len(row.wrong):4} wrong {row.seconds:7.1f} s "
            f"{row.cpu_s:7.1f} s of CPU  {memory}{row.promise}{note}"
        )
        for wrong in row.wrong[:WRONG_SHOWN]:
            print(f"    {wrong}")
        for finding in row.findings if arguments.findings is not None else ():
            arguments.findings.mkdir(parents=True, exist_ok=True)
            name = corpus_files.name_of(finding.content, finding.suffix)
            (arguments.findings / name).write_bytes(finding.content)
        sys.stdout.flush()
        bad += len(row.wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
