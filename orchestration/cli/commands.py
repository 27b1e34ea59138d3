"""Turns functions into commands: their place and examples, and how their value is shown."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Final, Generic, ParamSpec, TypeAlias, TypeVar

import typer

from orchestration.cli.console import print_json, print_json_rows, print_line, print_note
from orchestration.cli.exits import ExitCode
from orchestration.cli.families import FAMILIES
from orchestration.cli.session import SESSION

ValueT = TypeVar("ValueT")
ValueT_co = TypeVar("ValueT_co", covariant=True)
GivenP = ParamSpec("GivenP")

Given = Mapping[str, Any]
"""Arguments of a run, by their names in Python."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_JSON: Final = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[ValueT_co]):
    """The value of a command, `notes` printed after it, and the exit code if it is not 0."""

    value: ValueT_co
    notes: Iterable[str] = ()
    code: ExitCode = ExitCode.OK


Result: TypeAlias = ValueT | Answer[ValueT]
"""What a command returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An action that was carried out, as plain JSON data and in words."""

    record: Mapping[str, Any] | None = None
    text: str

    def as_record(self) -> Mapping[str, Any] | None:
        """Plain JSON data."""
        return self.record


def show_done(done: Done) -> None:
    """Print what was done."""
    print_line(done.text)


class Group(typer.Typer):
    """Commands that share their first words, `path`; the last word is the group's name.

    Its help comes from `FAMILIES`, or from `help_` for a group within another; `lines` are examples.
    """

    def __init__(self, path: str, *lines: str, help_: str = "") -> None:
        super().__init__(
            name=path.rpartition(" ")[2],
            help=FAMILIES[path].help if path in FAMILIES else help_,
            epilog=examples(*lines),
            no_args_is_help=True,
            rich_markup_mode=None,
            add_completion=False,
        )
        self.path = path


def examples(*lines: str) -> str:
    """The end of a command's help; the leading control character keeps the lines unwrapped."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([title, *(f"  {line}" for line in lines)])


def plain(value: Any) -> Any:
    """The JSON form of a value: its record if it has one."""
    return value.as_record() if hasattr(value, "as_record") else value


def nothing(value: object) -> None:
    """Show nothing: for a command that turns into another program."""
    del value


def command(
    group: Group,
    name: str,
    *lines: str,
    show: Callable[[ValueT], None],
    record: Callable[[ValueT], Any] | None = plain,
    audit: Callable[[str, Given], AbstractContextManager[None]] | None = None,
) -> Callable[[Callable[GivenP, Result[ValueT]]], Callable[GivenP, Result[ValueT]]]:
    """Decorator that makes a function, which returns a value or an `Answer`, a command with the examples `lines`.

    `show` prints the value for people. `record` turns it into JSON for `--json`, an iterator item by item; if None, the
    command has no such option. `audit` records a run, given the command's path and arguments, where the service does
    not. A function that must know whether JSON was requested declares a parameter `json` itself.
    """
    path = f"{group.path} {name}".strip()

    def register(function: Callable[GivenP, Result[ValueT]]) -> Callable[GivenP, Result[ValueT]]:
        call: Callable[..., Result[ValueT]] = function
        declared = inspect.signature(function).parameters
        parameters = [*declared.values(), *([_JSON] if record is not None and "json" not in declared else [])]

        @wraps(function)
        def run(**given: Any) -> None:
            SESSION.json = given.get("json", False)
            if "json" not in declared:
                given.pop("json", None)
            with nullcontext() if audit is None else audit(path, given):
                result = call(**given)
            _present(result if isinstance(result, Answer) else Answer(value=result), show, record)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.audited = audit is not None  # type: ignore[attr-defined]
        group.command(name, epilog=examples(*lines))(run)
        return function

    return register


def show_now(value: ValueT, show: Callable[[ValueT], None]) -> None:
    """Show a value before the command is done; with `--json` it is part of the single document at the end."""
    if not SESSION.json:
        show(value)


def _present(answer: Answer[Any], show: Callable[[Any], None], record: Callable[[Any], Any] | None) -> None:
    if SESSION.json and record is not None:
        document = record(answer.value)
        if isinstance(document, Iterator):
            print_json_rows(document)
        else:
            print_json(document)
    else:
        show(answer.value)
    for note in answer.notes:
        print_note(note)
    if answer.code is not ExitCode.OK:
        raise typer.Exit(answer.code)
