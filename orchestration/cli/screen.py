"""Progress display: redrawn in place on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from orchestration.cli.console import err
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from rich.live import Live

with deferred(__name__):
    from rich import live, text

LINE_EVERY_S: Final = 1.0


class Screen(Protocol):
    """A display for progress. Used as a context manager; the last state stays visible."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the last state stays on the screen."""
        ...

    def show(self, lines: Sequence[str], line: str) -> None:
        """Show the state: as `lines` if there is room for a block, as `line` in a log."""
        ...


class TerminalScreen:
    """A block redrawn in place."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._live = live.Live(console=err(), auto_refresh=False, transient=False)
        self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, lines: Sequence[str], line: str) -> None:
        """Redraw the block."""
        del line
        if self._live is not None:
            self._live.update(text.Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)


class LineScreen:
    """Lines: at most one per second, only on changes, and always the first and the last."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._last: str | None = None
        self._pending: str | None = None
        self._written_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._pending is not None:
            self._write(self._pending)
            self._pending = None

    def show(self, lines: Sequence[str], line: str) -> None:
        """Write the line, or keep it until a second has passed since the last one."""
        del lines
        if line == self._last:
            self._pending = None
        elif self._last is None or self._clock() - self._written_at >= LINE_EVERY_S:
            self._write(line)
            self._last, self._pending, self._written_at = line, None, self._clock()
        else:
            self._pending = line


def screen() -> Screen:
    """The screen of this process's stderr."""
    if err().is_terminal:
        return TerminalScreen()
    return LineScreen(lambda line: err().print(line))
