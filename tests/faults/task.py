"""What the process of an ECS task runs here: the task itself, under strace if a test has armed it.

`<home>/faults/<task>.inject` (task: import, verify, build; those of units, too) holds the value of strace's `--inject`.
The process that takes the file away runs under strace: the file arms one process, from its first system call on. The
word `task`, which the image's entry point reads, comes first.
"""

import os
import sys
from pathlib import Path
from typing import Final

from tests.faults.tracing import STRACE_OPTIONS

FOLDER: Final = "faults"
MODULE: Final = "orchestration.entrypoints.tasks"


def armed(home: Path, task: str) -> Path:
    """The file that arms the next task of a kind."""
    return home / FOLDER / f"{task}.inject"


def main() -> None:
    """Become the task."""
    _entry, task, *_ = sys.argv[1:]
    argv = [sys.executable, "-m", MODULE, *sys.argv[2:]]
    file = armed(Path(os.environ["MUSTER_HOME"]), task.removesuffix("-unit"))
    taken = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.rename(taken)
    except FileNotFoundError:
        os.execv(argv[0], argv)
    inject = taken.read_text(encoding="utf-8")
    log = taken.with_name(f"{taken.name}.strace")
    os.execvp("strace", [*STRACE_OPTIONS, "-o", str(log), *inject.split(), *argv])


if __name__ == "__main__":
    main()
