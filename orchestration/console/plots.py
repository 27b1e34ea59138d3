"""Series over time as SVG: a gap is a gap, never zero."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 360
HEIGHT: Final = 72


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


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[float, float]]]:
    """Values without a gap between them, by index. One alone is drawn as a short line."""
    run: list[tuple[float, float]] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append((index, value))
        elif run:
            yield run if len(run) > 1 else [(run[0][0] - 0.5, run[0][1]), *run]
            run = []
