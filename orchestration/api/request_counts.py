"""What the service counts: requests and their time, by operation and status."""

from collections import Counter
from collections.abc import Iterable

from schemas.metrics import API_REQUEST_SECONDS, API_REQUESTS, Sample


class RequestCounts:
    """Counted in the event loop, read by the thread that serves metrics."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._seconds: Counter[str] = Counter()

    def add(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests[operation, str(status)] += 1
        self._seconds[operation] += seconds  # type: ignore[assignment]  # a Counter adds floats as well

    def samples(self) -> Iterable[Sample]:
        """Current values."""
        yield from (
            Sample(metric=API_REQUESTS, value=number, labels=labels) for labels, number in list(self._requests.items())
        )
        yield from (
            Sample(metric=API_REQUEST_SECONDS, value=spent, labels=(name,))
            for name, spent in list(self._seconds.items())
        )
