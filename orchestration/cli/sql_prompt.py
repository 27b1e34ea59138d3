"""The prompt of `muster sql`: queries one after the other, with a history and completion of names."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from muster.errors import ApiError
from orchestration.cli import remote
from orchestration.cli.console import print_note, show_error
from orchestration.cli.sql_rows import queried, show_queried
from schemas.errors import MusterError

if TYPE_CHECKING:
    from muster.client import Client

LEAVE: Final = frozenset({"exit", "quit", "\\q"})
PROMPT, CONTINUED = "muster> ", "     -> "
WORDS: Final = (
    *("select", "from", "where", "group by", "having", "order by", "limit", "join", "on", "using", "with", "as"),
    *("and", "or", "not", "in", "is", "null", "like", "between", "case", "when", "then", "else", "end", "distinct"),
    *("union", "except", "intersect", "count(", "sum(", "min(", "max(", "avg(", "audience('", "segment('", "events('"),
    *("profiles()", "rejects('"),
)


def ask_for_queries(
    found: "Client", tenant: str, *, limit: int, timeout_s: float, env: Mapping[str, str] = os.environ
) -> None:
    """Prompt until Ctrl-D or `exit`. Ctrl-C ends a running query, or empties the line. Errors are shown."""
    names = Names()
    threading.Thread(target=names.load, args=(tenant,), daemon=True).start()
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=_history(env),
        completer=names,
        complete_in_thread=True,
        complete_while_typing=False,
        multiline=True,
        prompt_continuation=CONTINUED,
        key_bindings=_enter_sends_whole_queries(),
    )
    print_note(f"Queries of tenant {tenant}; each ends with a semicolon. Tab completes names, Ctrl-D quits.")
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.rstrip(";").strip().lower() in LEAVE:
            return
        if text.rstrip(";").strip():
            _run(found, tenant, text, limit=limit, timeout_s=timeout_s)


def _run(found: "Client", tenant: str, text: str, *, limit: int, timeout_s: float) -> None:
    try:
        with remote.translated(), found.stream_query(tenant, text, timeout_s=timeout_s) as rows:
            show_queried(queried(rows, limit=limit))
    except KeyboardInterrupt:
        print_note("Cancelled.")
    except MusterError as exc:
        show_error(exc)


def is_whole(text: str) -> bool:
    """Whether Enter sends the text: a query with its semicolon, a word that quits, or nothing."""
    text = text.strip()
    return not text or text.endswith(";") or text.lower() in LEAVE


def _enter_sends_whole_queries() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return bindings


class Names(Completer):
    """Completes words of SQL, and the names that the service knows of a tenant once `load` has them."""

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()
        self._named: dict[str, tuple[str, ...]] = {"audience": (), "segment": (), "events": ()}
        """By call, what its first argument can name."""

    def load(self, tenant: str, connect: Callable[[], Any] = remote.service) -> None:
        """Ask the service, on a connection of its own. Without an answer, only words of SQL are completed."""
        try:
            with connect() as own:
                self._named["audience"] = tuple(one["audience"] for one in own.audiences(tenant))
                found = own.names(tenant)
                self._columns = ("user_id", *(one["name"] for one in found["attributes"]))
                self._named["segment"] = tuple(found["segments"])
                self._named["events"] = tuple(one["event"].replace("'", "''") for one in found["events"])
        except (MusterError, ApiError):
            return

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """See `Completer`."""
        del complete_event
        before = document.text_before_cursor
        head, quote, begun = before.rpartition("'")
        for call, names in self._named.items() if quote else ():
            if head.rstrip().lower().endswith(f"{call}("):
                yield from _beginning(begun, names, "')")
                return
        word = document.get_word_before_cursor(WORD=False)
        if word.strip():
            yield from _beginning(word, (*WORDS, *self._columns), "")


def _beginning(begun: str, names: tuple[str, ...], end: str) -> Iterator[Completion]:
    for name in names:
        if name.lower().startswith(begun.lower()):
            yield Completion(name + end, start_position=-len(begun), display=name)


def _history(env: Mapping[str, str]) -> History:
    """Kept in a file that only its user may read: queries may hold ids of users."""
    base = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".local" / "state")
    file = Path(base, "muster", "sql_history")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError as exc:
        print_note(f"The history is not kept: {file} cannot be written ({exc.strerror}).")
        return InMemoryHistory()
    return FileHistory(str(file))
