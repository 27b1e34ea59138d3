"""The budget of connections to the catalog's database, and how many functions may run at once within it."""

from typing import Final

CONNECTIONS_OF_A_PROCESS: Final = 12
"""The most that a process opens for the catalog: its pool. The service and the control plane use several at once."""
CONNECTIONS_OF_A_CALL: Final = 2
"""Of a function during a call, of a task and of a worker: one for the catalog, one for the tables of the lake."""
CONNECTIONS_OF_A_FEEDER: Final = 3
"""Two that its feeds share, and one that notices changes of the catalog."""
SPARE: Final = 6
"""For migrations, commands of administrators, and the server's own superuser."""
FEWEST_CALLS: Final = 4
"""One for each function with a share of its own, and one for all others."""


def connections_for(calls: int, *, processes: int, workers: int) -> int:
    """Connections that a deployment needs for so many concurrent calls of functions.

    `processes`: services and control planes, also the second one of each during an update; `workers`: all of them.
    """
    of_calls = CONNECTIONS_OF_A_CALL * (calls + workers)
    return SPARE + processes * CONNECTIONS_OF_A_PROCESS + of_calls


def calls_within(connections: int, *, processes: int, workers: int) -> int:
    """The inverse of `connections_for`; negative if there is no room even without functions."""
    return (connections - connections_for(0, processes=processes, workers=workers)) // CONNECTIONS_OF_A_CALL
