"""The fork server for parsers: `python -m connectors.sources.parser_server CONTROL_FD`.

It never sees a file. Each file gets its own child, which has seen no other file.

1. It loads everything that parsing needs, by parsing sample rows.
2. It enters new namespaces, which its forks share, and prepares the sandbox rules that each fork applies.
"""

from connectors.fork_server.server import ChildBehaviour, main
from connectors.loading import hide_pandas
from connectors.sandbox import Confinement, Plan, enter_namespaces, program_files
from connectors.sources import child


def load() -> ChildBehaviour:
    """Import the modules that CSV files need, and load all compiled code.

    Stays in a single thread: a second one would make the C library reserve memory that has to count against a job's
    limits, and a fork has only one thread.
    """
    hide_pandas()
    from connectors.sources.warm import warm

    warm()
    confinement = Confinement(Plan(readable=program_files()))
    confinement.missing |= enter_namespaces()
    confinement.drop_privileges()  # its forks have none either, and missing layers are known before the first fork

    def run(control_fd: int) -> int:
        confinement.apply_to_this_thread()
        return child.run(control_fd)

    return ChildBehaviour(run=run, kept=frozenset(confinement.fds), about=confinement.missing.value)


if __name__ == "__main__":
    main(load)
