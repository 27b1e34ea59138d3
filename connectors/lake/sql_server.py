"""The fork server of queries: `python -m connectors.lake.sql_server CONTROL_FD`.

It has loaded what its forks need except DuckDB, which starts a thread at its import: a fork must be confined before.
(Arrow starts none under `SQL_ENVIRONMENT`.)
"""

from connectors.fork_server.server import ChildBehaviour, main
from connectors.lake import sql_child


def load() -> ChildBehaviour:
    """Each fork runs one query."""
    return ChildBehaviour(run=sql_child.run)


if __name__ == "__main__":
    main(load)
