"""The fork server of readers: `python -m orchestration.answers.server CONTROL_FD`.

It has loaded everything that readers need and that starts no thread, all but DuckDB: a reader starts in a fraction of a
second, and shares that memory with the others. It sees no question and no settings.
"""

import logging

from connectors.fork_server.server import ChildBehaviour, main
from connectors.loading import hide_pandas
from orchestration.answers.program import serve


def load() -> ChildBehaviour:
    """Each fork is a reader."""
    hide_pandas()
    import boto3  # noqa: F401, PLC0415  # after pandas is hidden, as all below
    import confluent_kafka.admin  # noqa: F401, PLC0415
    import pyiceberg.catalog.sql  # noqa: PLC0415
    import pyiceberg.io.pyarrow  # noqa: F401, PLC0415

    import connectors.lake.archive  # noqa: PLC0415
    import connectors.lake.store  # noqa: F401, PLC0415
    import orchestration.catalog.activations  # noqa: PLC0415
    import orchestration.catalog.segments  # noqa: F401, PLC0415
    from schemas.partitioning import partition_of  # noqa: PLC0415

    partition_of("user", 2)  # a confined process could neither compile it nor keep what it has compiled
    logging.getLogger("pyiceberg").setLevel(logging.WARNING)  # it logs each table that it loads
    return ChildBehaviour(run=serve)


if __name__ == "__main__":
    main(load)
