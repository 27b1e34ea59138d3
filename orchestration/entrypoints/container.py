"""Entry point of the image: `lambda HANDLER`, `task ...`, `worker`, `segment-worker`, `serve PART`, ...

The runtime (Lambda, ECS, compose) passes one of these words first. Three things happen before the program starts:
SIGTERM ends it even as process 1, which the kernel signals only if a handler is installed; the compiled kernels are
copied if their folder is read-only; and the secrets that `MUSTER_SECRETS` names become settings (`container_secrets`).
"""

import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from orchestration.entrypoints import container_secrets
from schemas.errors import MusterError

KERNELS: Final = "NUMBA_CACHE_DIR"
TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code that a shell and Docker report for a program ended by SIGTERM."""
USAGE_EXIT_CODE: Final = 64  # EX_USAGE of sysexits.h
SECRETS_EXIT_CODE: Final = 78  # EX_CONFIG
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "lambda": ("awslambdaric",),
    "task": ("orchestration.entrypoints.tasks",),
    "worker": ("orchestration.entrypoints.worker",),
    "segment-worker": ("orchestration.entrypoints.segment_worker",),
    "serve": ("orchestration.entrypoints.serving",),
    "health": ("orchestration.entrypoints.health",),
    "muster": ("orchestration.cli.main",),
    "demo": ("orchestration.entrypoints.demo",),
}
"""First word -> module, and arguments that precede the remaining words."""


def writable_kernels(env: MutableMapping[str, str]) -> None:
    """Point numba to a copy of the compiled kernels if their folder is read-only.

    numba reads a cache only if it could also write one; on a read-only file system every process would compile for half
    a minute. Child processes inherit the variable.
    """
    if not (path := env.get(KERNELS)) or os.access(path, os.W_OK) or not Path(path).is_dir():
        return
    copy = Path(tempfile.gettempdir()) / f"muster-kernels-{os.getuid()}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=copy.parent))
        shutil.copytree(path, unfinished, dirs_exist_ok=True, copy_function=shutil.copyfile)
        try:
            unfinished.rename(copy)
        except OSError:  # another process of this container was faster
            shutil.rmtree(unfinished)
    env[KERNELS] = str(copy)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    sys.exit(TERMINATED)


def main(arguments: Sequence[str]) -> int:
    """Become the program that the first word names."""
    word, *rest = arguments or [""]
    if word not in MODULES:
        hint = f", not {word[:60]!r}; to run other programs, use docker run --entrypoint" if word else ""
        sys.stderr.write(f"choose what to run: {', '.join(MODULES)}{hint}\n")
        return USAGE_EXIT_CODE
    signal.signal(signal.SIGTERM, _terminate)  # programs with an orderly shutdown install their own
    writable_kernels(os.environ)
    module, *before = MODULES[word]
    try:
        if word == "health":  # runs often, and beside the program, which has read all secrets
            container_secrets.point_to_kafka_files(os.environ)
        else:
            container_secrets.provide(os.environ)
    except MusterError as exc:
        sys.stderr.write(f"{json.dumps(exc.as_record(), default=str)}\n")
        return SECRETS_EXIT_CODE
    sys.argv = [module, *before, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
