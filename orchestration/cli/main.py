"""The `muster` command: what all commands share. Errors are caught here and nowhere else."""

import getpass
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from orchestration.cli.commands import examples
from orchestration.cli.console import print_json, print_note, show_error
from orchestration.cli.exits import ExitCode, code_for_error
from orchestration.cli.families import Muster
from orchestration.cli.formatting import safe
from orchestration.cli.session import SESSION
from schemas.errors import MusterError

app = typer.Typer(
    name="muster",
    cls=Muster,
    help="Moves audiences between S3 and Kafka, and proves that no user was lost on the way.",
    epilog=examples("muster up", "muster import people.csv --audience vip --wait"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:  # noqa: FBT001  # typer calls it with the flag
    if value:
        from muster import __version__  # noqa: PLC0415  # help needs no client

        sys.stdout.write(f"muster {__version__}\n")
        raise typer.Exit


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


@app.callback()
def root(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Actor to record in the audit trail.")] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Moves audiences between S3 and Kafka, and proves that no user was lost on the way."""
    del version
    SESSION.debug = debug
    SESSION.note = as_
    SESSION.actor = f"{as_} (by {_user()})" if as_ else _user()


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code (see `ExitCode`)."""
    try:
        app(args=list(arguments), prog_name="muster")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except MusterError as exc:
        if SESSION.debug:
            raise
        show_error(exc)
        if SESSION.json:
            print_json({"error": exc.as_record()})
        return code_for_error(exc)
    except Exception as exc:
        if SESSION.debug:
            raise
        print_note(f"UNEXPECTED: {type(exc).__name__}: {safe(exc)}")
        print_note("This is a bug in Muster; `muster --debug ...` shows the traceback.")
        return ExitCode.SYSTEM_ERROR
    finally:
        SESSION.end()
    return ExitCode.OK


def run() -> None:
    """Entry point of the `muster` script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
