"""Points at which a process of a stack can be held: before or after a call. They live here, not in the product."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ON_PATH: Final = Path(__file__).parent / "on_path"
"""Folder to put on the `PYTHONPATH` of a stack whose processes are to be held."""
FOLDER: Final = "held"
"""Folder in the stack's home. A process that takes the file of a point away is held there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`call`: name in the module, with its class if it is a method."""

    module: str
    call: str
    when: Literal["before", "after"]


POINTS: Final[Mapping[str, Point]] = {
    # The evidence exists, and the job is still VERIFYING.
    "verifier": Point(module="orchestration.kinds.verify", call="verify_side_by_side", when="after"),
    # The broker has acknowledged every chunk, and no end marker is sent; imports of events and profiles have none.
    "importer": Point(module="connectors.publishing.importer", call="compare", when="before"),
    # The part and its result are stored. Nothing is announced, and the end marker may not be acknowledged.
    "worker": Point(module="streams.merges", call="MergeRunner._merge", when="after"),
    # The workers' reports are in the catalog; their offsets are not committed.
    "relay": Point(module="orchestration.catalog.progress", call="ProgressStore.put_partitions", when="after"),
    # The version is committed, and the job is still PUBLISHING.
    "publisher": Point(module="connectors.lake.store", call="IcebergVersionStore.publish", when="after"),
    # The files of a group are written, or its rows sent to a topic; the catalog does not know yet.
    "writer": Point(module="orchestration.kinds.export.write", call="write_group", when="after"),
    "sender": Point(module="orchestration.kinds.export.write", call="send", when="after"),
}


def order(home: Path, point: str) -> Path:
    """The file that asks the next process reaching a point to stop there."""
    return home / FOLDER / point.replace(" ", "-")
