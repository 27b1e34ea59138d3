"""Series over time as SVG: a gap is a gap, never zero."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

WIDTH: Final = 360
HEIGHT: Final = 72
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """`lines`: points of polylines, in a box of `WIDTH` x `HEIGHT`. `most` None: nothing was measured."""

    lines: Sequence[str]
    most: float | None
    width: int = WIDTH
    height: int = HEIGHT


def plot(values: Sequence[float | None]) -> Plot:
    """One series, oldest first; its highest value is at the upper edge."""
    known = [value for value in values if value is not None]
    most = max(known, default=None)
    scale = HEIGHT / most if most else 0.0
    step = WIDTH / max(len(values) - 1, 1)
    lines = [
        " ".join(f"{index * step:.1f},{HEIGHT - value * scale:.1f}" for index, value in run) for run in _runs(values)
    ]
    return Plot(lines=lines, most=most)


def hourly(values: Mapping[str, float]) -> Plot:
    """Values by their hours (RFC 3339), oldest first; hours without one are gaps."""
    hours = {datetime.fromisoformat(hour): value for hour, value in values.items()}
    if not hours:
        return plot([])
    first, last = min(hours), max(hours)
    count = (last - first) // HOUR + 1
    return plot([hours.get(first + index * HOUR) for index in range(count)])


def staircase(values: Sequence[tuple[str, float]], until: str) -> Plot:
    """Values that each hold from a time (RFC 3339) to the next one's, oldest first, and the last one `until`."""
    if not values:
        return plot([])
    points = [(datetime.fromisoformat(at), value) for at, value in (*values, (until, values[-1][1]))]
    most = max(value for _, value in values)
    first, span = points[0][0], (points[-1][0] - points[0][0]) or HOUR
    scale = HEIGHT / most if most else 0.0
    corners, before = [], None
    for at, value in points:
        x, y = (at - first) / span * WIDTH, HEIGHT - value * scale
        corners += [(x, y)] if before is None else [(x, before), (x, y)]
        before = y
    return Plot(lines=[" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)], most=most)


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[float, float]]]:
    """Values without a gap between them, by index. One alone is drawn as a short line."""
    run: list[tuple[float, float]] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append((index, value))
        elif run:
            yield run if len(run) > 1 else [(run[0][0] - 0.5, run[0][1]), *run]
            run = []
