"""The command ``samestep``.

The commands are plain functions that return an exit code. typer reads their signatures if it is
installed; in the base installation argparse does.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from ... import __version__, available_backends
from ...printing.emit import emit
from .arguments import Program
from .console import print_table
from .errors import UserError, users_mistakes


def backends() -> int:
    """List the backends: which can run here and what the others need."""
    rows = [
        [status.name, "yes" if status.available else "no", status.detail, status.install]
        for status in available_backends().values()
    ]
    print_table("Backends", ["name", "can run", "detail", "to install"], rows, left=4)
    return 0


def show(
    rule: Annotated[str, "A built-in rule, such as adamw, or module:name of your own."],
    target: Annotated[str, "c, cuda or numba (a Python module)."] = "c",
    dtype: Annotated[str, "Of parameters: float64, float32, bfloat16 or float16."] = "float32",
    grad_dtype: Annotated[str | None, "Of gradients, if not that of parameters."] = None,
    option: Annotated[
        list[str] | None,
        "Structural option to switch on, such as amsgrad, or off: no_factored; repeatable.",
    ] = None,
) -> int:
    """Print a rule's update as source code."""
    from .options import chosen_options
    from .own_rule import rule_named

    with users_mistakes():
        found = rule_named(rule)
        source = emit(found, target, dtype, grad_dtype, **chosen_options(found, option or []))
    print(source, end="")
    return 0


def export(
    rule: Annotated[str, "A built-in rule, such as adamw, or module:name of your own."],
    target: Annotated[str, "c (also C++), cuda, numpy or numba (one Python file)."] = "c",
    dtype: Annotated[str, "Of parameters: float64, float32, bfloat16 or float16."] = "float32",
    grad_dtype: Annotated[str | None, "Of gradients, if not that of parameters."] = None,
    option: Annotated[
        list[str] | None,
        "Structural option to switch on, such as amsgrad, or off: no_factored; clip_value and "
        "clip_norm; repeatable.",
    ] = None,
    output: Annotated[Path | None, "File to write. Default, or -: print it.", "-o"] = None,
    with_check: Annotated[bool, "Add a main program that compares with a golden file."] = False,
    force: Annotated[bool, "Overwrite the file if there is one."] = False,
) -> int:
    """Write a rule as one file to embed in a program without this package.

    Defaults, scalars, update and initial state; a comment on top says how to call and verify them.

    samestep export adamw -o adamw.h

    samestep export lamb --dtype bfloat16 --with-check -o lamb.c
    """
    from .export import run

    return run(rule, target, dtype, grad_dtype, option or [], output, with_check, force)


def golden_generate(
    rule: Annotated[
        list[str] | None,
        "Rule (all its variants), label, case, or module:name of your own; repeatable. "
        "Default: all built-in ones.",
    ] = None,
    out: Annotated[Path | None, "Folder to write to. Default: in a checkout its own."] = None,
) -> int:
    """Write golden files: inputs, the reference's bits and the truth.

    The same bytes each time. The truth needs mpmath, in the extra "oracle".
    """
    from .golden import run_generate

    return run_generate(rule or None, out)


def golden_verify(
    backend: Annotated[str | None, "Backend to hold to the files. Default: the usual one."] = None,
    rule: Annotated[
        list[str] | None,
        "Rule (all its variants), label, case, or module:name of your own; repeatable. "
        "Default: all built-in ones.",
    ] = None,
    directory: Annotated[Path | None, "Folder of the files. Default: the installed ones."] = None,
) -> int:
    """Replay golden files on a backend and compare every bit.

    The exit code is 1 if anything differs.
    """
    from .golden import run_verify

    return run_verify(backend, rule or None, directory)


def demo(
    epochs: Annotated[int, "Passes over the training images."] = 30,
    seed: Annotated[int, "Of the initial weights and of the order of images."] = 0,
    backend: Annotated[
        list[str] | None, "Train with this backend; repeatable. Default: all that can run."
    ] = None,
    picture: Annotated[Path, "Where to write the picture of the loss curves."] = Path("demo.png"),
) -> int:
    """Train a network on handwritten digits with every backend and compare the bits.

    Each backend starts from the same weights. The exit code is 1 if the final weights differ.
    """
    from ..demo.run import run

    return run(epochs, seed, backend, picture)


def population(
    epochs: Annotated[int, "Passes over the training images."] = 30,
    seed: Annotated[int, "Of the initial weights and of the order of images."] = 0,
    backend: Annotated[str | None, "Train with this backend. Default: the usual one."] = None,
    picture: Annotated[Path, "Where to write the picture of the accuracies."] = Path(
        "population.png"
    ),
) -> int:
    """Train 16 copies of the digits network at 16 learning rates in one launch a step.

    With SGD, Adagrad, RMSprop and Adam: how much the learning rate matters, in one picture. Each
    copy is then trained alone, too. The exit code is 1 if its weights have other bits.
    """
    from ..demo.population import run

    return run(epochs, seed, backend, picture)


def bench(
    work: Annotated[list[str] | None, "Measure only this work; repeatable."] = None,
    repeats: Annotated[int, "Timings of each contender."] = 15,
    backend: Annotated[
        list[str] | None, "Backend for the table of rules; repeatable. Default: numba."
    ] = None,
    json: Annotated[Path | None, "Write all figures to this file."] = None,
    plot: Annotated[Path | None, "Draw times as multiples of the bare loop, to this file."] = None,
    quick: Annotated[bool, "Small arrays and few timings: to try the command."] = False,
    torch: Annotated[bool, "Instead: torch's implementations and ours on tensors."] = False,
) -> int:
    """Time AdamW on every backend, beside torch, optax and DeepSpeed where they are installed.

    The work is large (one tensor of 50 million), resnet50 (its 161 tensors), gpt2 (the 148 of
    GPT-2 small), thousand (1,000 tensors of 1,000), small (2,000 tensors of 64), tiny (4 tensors
    of 10) and rules (AdamW, LAMB, Adafactor and AdamW with clipping on a matrix of 50 million).
    With --torch it is large, many (500 tensors of 100,000), thousand and population.
    """
    if torch:
        from ..bench.torch_table import run as run_torch

        return run_torch(work or None, min(repeats, 2) if quick else repeats, quick)
    from ..bench.run import run

    return run(work or None, repeats, backend or None, json, plot, quick)


def memory(
    params: Annotated[float | None, "Number of parameters, such as 7e9."] = None,
    shape: Annotated[
        list[str] | None,
        "Of a parameter, such as 4096x11008; repeatable. With --params these shapes again and "
        "again; without --shape square matrices of 4096.",
    ] = None,
    rule: Annotated[
        list[str] | None, "Rule (all its variants) or variant; repeatable. Default: all."
    ] = None,
    param_dtype: Annotated[
        str, "Of parameters: float64, float32, bfloat16 or float16."
    ] = "float32",
    grad_dtype: Annotated[str | None, "Of gradients, if not that of parameters."] = None,
) -> int:
    """Tell the bytes of parameters, gradients and state, rule by rule.

    For example: samestep memory --params 7e9 --rule adamw --param-dtype bfloat16
    """
    from ..memory.run import run

    return run(params, shape or None, rule or None, param_dtype, grad_dtype)


def truth(
    rule: Annotated[
        list[str] | None, "Rule (all its variants), label or case; repeatable. Default: all."
    ] = None,
    dtype: Annotated[
        list[str] | None, "Of parameters, gradients too; repeatable. Default: all."
    ] = None,
    steps: Annotated[str, "After which steps to measure."] = "1,10,100,1000",
    write: Annotated[Path | None, "Write the page of the documentation to this file."] = None,
) -> int:
    """Print errors against 50-digit arithmetic: ours, torch's and optax's side by side.

    In units in the last place of the parameters. All of it takes some ten minutes and needs
    mpmath, in the extra "oracle".
    """
    from ..truth.run import run

    return run(rule or None, dtype or None, steps, write)


PROGRAM = Program(
    name="samestep",
    version=__version__,
    help="One optimizer rule, every backend, the same step.",
    commands={
        "backends": backends,
        "show": show,
        "export": export,
        "golden generate": golden_generate,
        "golden verify": golden_verify,
        "demo": demo,
        "population": population,
        "bench": bench,
        "memory": memory,
        "truth": truth,
    },
    groups={"golden": "Golden files: what a step must give, bit for bit."},
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line on ``words`` (without them ``sys.argv``); returns or exits with the
    exit code: 2 for what the user can put right."""
    if importlib.util.find_spec("typer") is not None:
        from .with_typer import run
    else:
        from .with_argparse import run
    try:
        try:
            return run(PROGRAM, words)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"samestep: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
