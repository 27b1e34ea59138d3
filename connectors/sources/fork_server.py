"""The reader's side of the parser fork server: a file costs a fork, not a process start."""

import atexit
import subprocess
import sys
from typing import IO, Final

from connectors.confinement import ONE_THREAD, child_environment
from connectors.fork_server.child_process import ChildProcess
from connectors.fork_server.owner import Forks, ForkServerDiedError
from schemas.errors import FatalError, MusterError, RetriableError

PARSER_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # mimalloc's arenas do not work under RLIMIT_AS
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",  # also the number of Arrow's threads
    **ONE_THREAD,
}


class Parsers(Forks):
    """The parsing children of this process."""

    def __init__(self) -> None:
        super().__init__(_start)

    def fork(self, output: IO[bytes] | None = None) -> ChildProcess:
        """A child that waits for its job; the caller closes it. Blocks until the server has loaded everything.

        Raises `RetriableError` PARSER_KILLED and `FatalError` PARSER_FAILED if the server has died, and OSError if the
        system does not let it fork.
        """
        try:
            return super().fork(output)
        except ForkServerDiedError as died:
            raise _error(died) from died


def _start(control_fd: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P: modules must not be imported from the directory the parent happens to be in.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "connectors.sources.parser_server", str(control_fd)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child_environment() | PARSER_ENVIRONMENT,
        pass_fds=(control_fd,),
    )


def _error(died: ForkServerDiedError) -> MusterError:
    code = died.exit_code
    detail = {"exit_code": code, "stderr": died.stderr}
    if died.from_outside:
        return RetriableError("PARSER_KILLED", f"the parser was killed from outside (signal {-code})", **detail)
    return FatalError("PARSER_FAILED", f"the parser cannot be started: it ended with code {code}", **detail)


PARSERS = Parsers()
"""The parsers of this process."""
atexit.register(PARSERS.stop)
