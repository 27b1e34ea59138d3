"""The reference of the command line, from the commands themselves."""

from collections.abc import Iterator
from typing import Any, Final

import typer.main

from orchestration.cli.main import app

OPENING: Final = """# All commands

Every command with its arguments and options, as `--help` shows them. [The command line](../cli.md) explains what they
do, and what all of them have in common.
"""
SHARED: Final = frozenset({"help"})


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its full name. Hidden ones are left out."""
    yield from _below(typer.main.get_command(app), ("muster",))


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([OPENING, *(_section(" ".join(path), command) for path, command in commands())])


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        if not child.hidden:
            yield from _below(child, (*path, name))


def _section(name: str, command: Any) -> str:
    given = [parameter for parameter in command.params if parameter.name not in SHARED and not parameter.hidden]
    arguments = [one for one in given if one.param_type_name == "argument"]
    options = [one for one in given if one.param_type_name == "option"]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    lines = [f"## `{name}`", "", _words(command.help), "", "```text", usage, "```", ""]
    if arguments:
        lines += ["| argument | |", "|---|---|"]
        lines += [f"| `{one.human_readable_name}` | {_words(one.help)} |" for one in arguments] + [""]
    if options:
        lines += ["| option | |", "|---|---|", *map(_option, options), ""]
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    return "\n".join([*lines, "```console", *(f"$ {line}" for line in examples), "```", ""])


def _usage(argument: Any) -> str:
    name = argument.human_readable_name + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in sorted([*option.opts, *option.secondary_opts], key=len))
    value = "" if option.is_flag else f" `{option.metavar or _kind(option)}`"
    repeatable = " Repeatable." if option.multiple else ""
    default = option.default
    shown = "" if option.is_flag or callable(default) or default in (None, "", (), []) else f" Default: `{default}`."
    return f"| {names}{value} | {_words(option.help)}{repeatable}{shown} |"


def _kind(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    return "\\|".join(map(str, choices)) if choices else option.type.name.upper()


def _words(text: str | None) -> str:
    """One line, safe in a table."""
    return " ".join((text or "").replace("\b", "").split()).replace("|", "\\|").replace("<", "&lt;")
