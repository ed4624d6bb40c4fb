"""The command ``samestep``: its commands and their options, parsed by argparse."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ..bench.run import run as run_bench
from ..demo.population import run as run_population
from ..demo.run import run as run_demo
from ..memory.run import run as run_memory
from ..truth.run import run as run_truth
from .errors import UserError
from .golden import run_generate, run_verify
from .installation import run_backends
from .source import run_export, run_show

RULES = (
    "Rule (all its variants), label, case, or module:name of your own; repeatable. "
    "Default: all built-in ones."
)
PARTS = "master=float32 or master=split, compensated, average=ema or average=mean, copy_to=bfloat16 or copy_to=float16; repeatable."
OPTIONS = f"Structural option to switch on, such as amsgrad, or off: no_factored; also {PARTS}"
CLIPPING = " Also clip_value and clip_norm."
SHAPES = (
    "Shape of a parameter, such as 4096x11008; repeatable. With --params these shapes again and "
    "again; without --shape square matrices of 4096."
)
PARAM_DTYPE = "Dtype of parameters: float64, float32, bfloat16 or float16."
GRAD_DTYPE = "Dtype of gradients, if not that of parameters."
STATE_DTYPE = (
    "What states are stored in: bfloat16, float16, int8, int4 or dynamic8, their forms without a sign "
    "uint8, uint4 and udynamic8; or one of "
    "them, exp_avg=int8, repeatable."
)
ROUNDING = "How what is stored in 16 bits is rounded: nearest or stochastic."

NAME: dict[str, Any] = dict(metavar="NAME")
NAMES: dict[str, Any] = dict(metavar="NAME", action="append")
NUMBER: dict[str, Any] = dict(metavar="N", type=int)
FILE: dict[str, Any] = dict(metavar="FILE", type=Path)
FOLDER: dict[str, Any] = dict(metavar="FOLDER", type=Path)
SWITCH: dict[str, Any] = dict(action="store_true")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line on ``words`` (``sys.argv`` if None) and return the exit code.

    It is 2 for errors that the user can put right. Raises SystemExit where argparse does.
    """
    try:
        try:
            given = vars(parser().parse_args(words))
            run: Callable[..., int] = given.pop("run")
            return run(**given)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"samestep: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; it gives ``run`` and the keywords to call it with."""
    program = argparse.ArgumentParser(
        "samestep", description="One optimizer rule, every backend, the same step."
    )
    version, about = f"samestep {__version__}", "Print the version and exit."
    program.add_argument("--version", action="version", version=version, help=about)
    commands = program.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command(commands, "backends", run_backends)
    _add_sources(commands)
    _add_golden(commands)
    _add_demonstrations(commands)
    _add_reports(commands)
    return program


def _command(commands: Any, name: str, run: Callable[..., int]) -> Callable[..., None]:
    """Add a command, whose help is the docstring of ``run``, and return what adds its options."""
    paragraphs = (inspect.getdoc(run) or "").split("\n\n")
    added = commands.add_parser(
        name,
        help=paragraphs[0],
        description="\n\n".join(textwrap.fill(text, 78) for text in paragraphs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run)

    def option(*flags: str, help: str, **settings: Any) -> None:
        shown = " [default: %(default)s]" if settings.get("default") is not None else ""
        added.add_argument(*flags, help=help + shown, **settings)

    return option


def _add_sources(commands: Any) -> None:
    add = _command(commands, "show", run_show)
    _add_rule(add, "c, cuda or numba (a Python module).", OPTIONS)
    add = _command(commands, "export", run_export)
    _add_rule(add, "c (also C++), cuda, numpy or numba (one Python file).", OPTIONS + CLIPPING)
    add("-o", "--output", **FILE, help="File to write. Default, or -: print it.")
    add("--with-check", **SWITCH, help="Add a main program that compares with a golden file.")
    add("--force", **SWITCH, help="Overwrite the file if there is one.")


def _add_rule(add: Callable[..., None], targets: str, options: str) -> None:
    add("rule", help="A built-in rule, such as adamw, or module:name of your own.")
    add("--target", **NAME, default="c", help=targets)
    add("--dtype", **NAME, default="float32", help=PARAM_DTYPE)
    add("--grad-dtype", **NAME, help=GRAD_DTYPE)
    add("--state-dtype", **NAMES, dest="state_dtypes", help=STATE_DTYPE)
    add("--rounding", **NAME, help=ROUNDING)
    add("--option", **NAMES, dest="options", help=options)


def _add_golden(commands: Any) -> None:
    about = "Golden files: what a step must give, bit for bit."
    group = commands.add_parser("golden", help=about, description=about)
    golden = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = _command(golden, "generate", run_generate)
    add("--rule", **NAMES, dest="rules", help=RULES)
    add("--out", **FOLDER, help="Folder to write to. Default: in a checkout its own.")
    add = _command(golden, "verify", run_verify)
    add("--backend", **NAME, help="Backend to hold to the files. Default: the usual one.")
    add("--rule", **NAMES, dest="rules", help=RULES)
    add("--directory", **FOLDER, help="Folder of the files. Default: the installed ones.")


def _add_demonstrations(commands: Any) -> None:
    add = _command(commands, "demo", run_demo)
    backends = "Train with this backend; repeatable. Default: all that can run."
    add("--backend", **NAMES, dest="backends", help=backends)
    _add_training(add, "loss curves", "demo.png")
    add = _command(commands, "population", run_population)
    add("--backend", **NAME, help="Train with this backend. Default: the usual one.")
    _add_training(add, "accuracies", "population.png")


def _add_training(add: Callable[..., None], curves: str, file: str) -> None:
    add("--epochs", **NUMBER, default=30, help="Passes over the training images.")
    seed = "Seed of the initial weights and of the order of images."
    add("--seed", **NUMBER, default=0, help=seed)
    add("--picture", **FILE, default=Path(file), help=f"File for the picture of the {curves}.")


def _add_reports(commands: Any) -> None:
    add = _command(commands, "bench", run_bench)
    add("--work", **NAMES, dest="works", help="Measure only this work; repeatable.")
    add("--repeats", **NUMBER, default=15, help="Timings of each contender.")
    rules_on = "Backend for the table of rules; repeatable. Default: numba."
    add("--backend", **NAMES, dest="backends", help=rules_on)
    add("--json", **FILE, dest="json_path", help="Write all figures to this file.")
    colours = "Draw times as multiples of samestep numba's, to this file."
    add("--plot", **FILE, dest="plot_path", help=colours)
    earlier = "With --plot: draw what --json wrote to this file, and measure nothing."
    add("--from", **FILE, dest="from_path", help=earlier)
    add("--quick", **SWITCH, help="Small arrays and few timings: to try the command.")
    instead = "Instead: torch's implementations and ours on tensors."
    add("--torch", **SWITCH, help=instead)

    add = _command(commands, "memory", run_memory)
    add("--params", metavar="N", type=float, help="Number of parameters, such as 7e9.")
    add("--shape", **NAMES, dest="shapes", help=SHAPES)
    variants = "Rule (all its variants) or variant; repeatable. Default: all."
    add("--rule", **NAMES, dest="rules", help=variants)
    add("--param-dtype", **NAME, default="float32", help=PARAM_DTYPE)
    add("--grad-dtype", **NAME, help=GRAD_DTYPE)
    add("--state-dtype", **NAMES, dest="state_dtypes", help=STATE_DTYPE)
    add("--option", **NAMES, dest="options", help=PARTS[0].upper() + PARTS[1:])

    add = _command(commands, "truth", run_truth)
    cases = "Rule (all its variants), label or case; repeatable. Default: all."
    add("--rule", **NAMES, dest="rules", help=cases)
    dtypes = "Dtype of parameters and gradients; repeatable. Default: all."
    add("--dtype", **NAMES, dest="dtypes", help=dtypes)
    add("--steps", metavar="N,N,...", default="1,10,100,1000", help="Steps to measure after.")
    page = "Write the page of the documentation to this file."
    add("--write", **FILE, dest="path", help=page)
