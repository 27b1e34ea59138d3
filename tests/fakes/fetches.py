"""Records of one partition, as a fetch returns them."""

from collections.abc import Iterable
from types import SimpleNamespace

from faust.types import TP

from streams.guards import Fetched


def fetched(tp: TP, values: Iterable[tuple[int, bytes | None]], generation: int = 1) -> Fetched:
    """A fetch with these values at these offsets."""
    records = [
        SimpleNamespace(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            key=b"",
            value=value,
            headers=(),
            timestamp=0,
            timestamp_type=1,
        )
        for offset, value in values
    ]
    return Fetched(tp, records, generation)
