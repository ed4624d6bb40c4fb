"""The command line with typer, from the same functions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from .arguments import Argument, Command, Program, arguments_of


def run(program: Program, words: Sequence[str] | None) -> int:
    """Parse ``words`` (without them ``sys.argv``), run the command and exit with its code."""
    build(program)(args=words, prog_name=program.name)
    return 0


def build(program: Program) -> typer.Typer:
    """The typer application."""
    settings: dict[str, Any] = dict(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    application = typer.Typer(help=program.help, **settings)
    groups = {"": application}
    for name, text in program.groups.items():
        groups[name] = typer.Typer(help=text, **settings)
        application.add_typer(groups[name], name=name)
    for name, command in program.commands.items():
        group_name, _, word = name.rpartition(" ")
        groups[group_name].command(word)(_with_typer_signature(command))

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program.name} {program.version}")
            raise typer.Exit

    @application.callback()
    def before(
        version: bool = typer.Option(
            False,
            "--version",
            help="Print the version and exit.",
            callback=show_version,
            is_eager=True,
        ),
    ) -> None:
        pass

    return application


def _with_typer_signature(command: Command) -> Command:
    def call(**given: Any) -> NoReturn:
        raise SystemExit(command(**given))

    call.__doc__ = command.__doc__
    parameters = [_parameter(argument) for argument in arguments_of(command)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _parameter(argument: Argument) -> inspect.Parameter:
    kind: Any = list[argument.kind] if argument.repeated else argument.kind  # type: ignore[name-defined]
    if argument.default is None:
        kind = kind | None
    about = (
        typer.Argument(help=argument.help)
        if argument.positional
        else typer.Option(*argument.flags, help=argument.help)
    )
    return inspect.Parameter(
        argument.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=argument.default,
        annotation=Annotated[kind, about],
    )
