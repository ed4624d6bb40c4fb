"""The command line from the standard library alone, for the base installation."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from typing import Any

from .arguments import Argument, Command, Program, arguments_of


def run(program: Program, words: Sequence[str] | None) -> int:
    """Parse ``words`` (without them ``sys.argv``) and run the command; returns its exit code."""
    parser = argparse.ArgumentParser(program.name, description=program.help)
    parser.add_argument("--version", action="version", version=f"{program.name} {program.version}")
    commands = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for name, text in program.groups.items():
        group = commands[""].add_parser(name, help=text, description=text)
        commands[name] = group.add_subparsers(required=True, metavar="COMMAND")
    for name, command in program.commands.items():
        group_name, _, word = name.rpartition(" ")
        text = inspect.getdoc(command) or ""
        added = commands[group_name].add_parser(
            word,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_arguments(added, command)
    given = vars(parser.parse_args(words))
    chosen: Command = given.pop("command")
    return chosen(**given)


def _add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command)
    for argument in arguments_of(command):
        if argument.positional:
            parser.add_argument(argument.name, type=argument.kind, help=argument.help)
        else:
            parser.add_argument(*argument.flags, **_option(argument))


def _option(argument: Argument) -> dict[str, Any]:
    if argument.kind is bool:
        return dict(action="store_true", help=argument.help)
    return dict(
        action="append" if argument.repeated else "store",
        type=argument.kind,
        default=argument.default,
        metavar=argument.kind.__name__.upper(),
        help=argument.help + (" [default: %(default)s]" if argument.default is not None else ""),
    )
