"""The process that parsers are forked from: `python -m connectors.sources.forking CONTROL_FD`.

It sees no file. Each file has a child of its own, which has seen no other.

1. It loads what parsing needs by parsing rows of its own.
2. It enters namespaces of its own, which its forks share, and makes the rules that each of them puts on.
"""

import sys

from connectors.fork_server.server import Children, main
from connectors.sandbox import Confinement, Plan, enter_namespaces, program_files
from connectors.sources import child


class _NoPandas:
    """pyarrow imports pandas, where it is installed, to see whether a list is one of its own: 0.15 s for nothing."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        """A finder of modules (`sys.meta_path`)."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def load() -> Children:
    """Import what CSV files need, and load all compiled code.

    Without a second thread: what the C library reserves for one is to count against the limits of a job, and a fork has
    one thread only.
    """
    sys.meta_path.insert(0, _NoPandas())
    from connectors.sources.warm import warm

    warm()
    confinement = Confinement(Plan(readable=program_files()))
    confinement.missing |= enter_namespaces()
    confinement.give_up_rights()  # its forks have none either, and what is missing is known before the first

    def run(control_fd: int) -> int:
        confinement.put_on()
        return child.run(control_fd)

    return Children(run=run, kept=frozenset(confinement.fds), about=confinement.missing.value)


if __name__ == "__main__":
    main(load)
