"""`muster docs`: the site of the documentation, as `make docs` builds it beside the source."""

import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line
from schemas.errors import UserError

TOP = Group("")
SITE: Final = Path(__file__).parents[2] / ".docs" / "site" / "index.html"


@command(TOP, "docs", "muster docs", "muster docs --no-browser", show=print_line, record=None)
def docs(
    *,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> "Answer[str]":
    """Open the documentation in a browser.

    `make docs` builds it; it needs neither a server nor a network.
    """
    if not SITE.is_file():
        raise UserError(
            "NO_DOCS", "the documentation is not built: run `make docs` in a clone of Muster", path=str(SITE)
        )
    opened = not no_browser and webbrowser.open(SITE.as_uri())
    return Answer(value=SITE.as_uri(), notes=["It is open in your browser."] if opened else [])
