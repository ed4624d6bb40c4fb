"""``samestep memory``: the bytes that a model takes while it is trained, rule by rule."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Sequence

from ...golden.cases import variants
from ...language.around import STRUCTURAL, check_bits, checked_choice
from ...language.codecs import StateDtype, checked_state_dtype
from ...language.dtypes import COMPUTE_DTYPE, gradient_dtypes, numpy_dtype
from ...language.rule import Rule
from ...parts.by_keyword import variant_of
from ..cli.console import print_table
from ..cli.errors import UserError, users_mistakes
from ..cli.rules import chosen_options, chosen_state_dtype
from .footprint import Shape, Shapes, filled, footprint, parameter_count, state_shapes

USUAL_BLOCK: tuple[Shape, ...] = ((4096, 4096),)
LEFT = 2  # columns that are words
WIDTH = 100  # characters of the text below the table
DECIMAL, BINARY = ("bytes", "kB", "MB", "GB", "TB"), ("bytes", "KiB", "MiB", "GiB", "TiB")


def run(
    params: float | None,
    shapes: Sequence[str] | None,
    rules: Sequence[str] | None,
    param_dtype: str,
    grad_dtype: str | None,
    state_dtypes: Sequence[str] | None,
    options: Sequence[str] | None = None,
) -> int:
    """Print the bytes of parameters, gradients and state, rule by rule.

    For example: samestep memory --params 7e9 --rule adamw --param-dtype bfloat16
    """
    grad_dtype = _checked_dtypes(param_dtype, grad_dtype)
    tensors = model(params, shapes)
    state_dtype = chosen_state_dtype(state_dtypes)
    chosen = [_kept(rule, state_dtype, options, param_dtype) for rule in chosen_rules(rules)]
    columns, rows = table(chosen, tensors, param_dtype, grad_dtype)
    print_table(heading(tensors, param_dtype, grad_dtype, state_dtype), columns, rows, LEFT)
    print("\n".join(notes(tensors, param_dtype)))
    return 0


def model(params: float | None, shapes: Sequence[str] | None) -> Shapes:
    """Return the tensors of a model. Raises UserError.

    Those of ``shapes`` once, or again and again until there are ``params`` parameters.
    """
    if params is None and not shapes:
        raise UserError(
            "say how many parameters (--params 7e9), of which shapes (--shape), or both"
        )
    block = [_shape(text) for text in shapes or ()] or list(USUAL_BLOCK)
    if params is None:
        return Counter(block)
    if not 1 <= params < 2**63 or params != int(params):
        raise UserError(f"--params must be a whole number of at least 1, not {params:g}")
    return filled(int(params), block)


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise UserError(f"--shape {text}: expected sizes such as 4096x11008")
    return tuple(map(int, text.split("x")))


def _checked_dtypes(param_dtype: str, grad_dtype: str | None) -> str:
    """Return the dtype of gradients. Raises UserError."""
    if param_dtype not in COMPUTE_DTYPE:
        raise UserError(f"--param-dtype {param_dtype}: expected one of {', '.join(COMPUTE_DTYPE)}")
    possible = gradient_dtypes(param_dtype)
    if grad_dtype is not None and grad_dtype not in possible:
        raise UserError(
            f"--grad-dtype {grad_dtype}: gradients of {param_dtype} parameters are "
            f"{' or '.join(possible)}"
        )
    return grad_dtype or param_dtype


def chosen_rules(names: Sequence[str] | None) -> list[Rule]:
    """Return the variants that ``names`` (of rules or of variants) select, or all if None.

    Raises UserError.
    """
    known = variants()
    if names is None:
        return known
    for name in names:
        if not any(name in (rule.name, rule.label) for rule in known):
            raise UserError(
                f"--rule {name}: no such rule; there are {', '.join(rule.label for rule in known)}"
            )
    return [rule for rule in known if {rule.name, rule.label} & set(names)]


def _kept(
    rule: Rule, state_dtype: StateDtype, options: Sequence[str] | None, param_dtype: str
) -> Rule:
    """Return the rule with states stored by these codecs, and parts around it. Raises UserError."""
    with users_mistakes():
        asked = chosen_options(rule, options)
        if unknown := [name for name in asked if name not in STRUCTURAL]:
            raise ValueError(f"--option {unknown[0]}: expected one of {', '.join(STRUCTURAL)}")
        parts = {name: checked_choice(name, value) for name, value in asked.items()}
        checked = checked_state_dtype(state_dtype)
        if checked is not None and COMPUTE_DTYPE[param_dtype] != "float32":
            raise ValueError(
                f"--state-dtype: codecs load to float32, and steps of {param_dtype} are computed in "
                "float64"
            )
        check_bits(f"--param-dtype {param_dtype}", parts, param_dtype)
        return variant_of(
            rule,
            {**STRUCTURAL, **parts, "state_dtype": checked, "rounding": rule.rounding},
            rule.options,
        )


def heading(
    shapes: Shapes, param_dtype: str, grad_dtype: str, state_dtype: StateDtype = None
) -> str:
    """Return the title of the table: shapes and dtypes."""
    state = COMPUTE_DTYPE[param_dtype] if state_dtype is None else state_dtype
    if not isinstance(state, str):
        state = ", ".join(f"{codec} ({name})" for name, codec in state.items())
    kinds = sorted(shapes.items(), key=lambda kind: -kind[1])
    listed = ", ".join(f"{number:,} of {_by(shape)}" for shape, number in kinds[:3])
    more = ", ..." if len(kinds) > 3 else ""
    return (
        f"{parameter_count(shapes):,} parameters ({listed}{more}): parameters {param_dtype}, "
        f"gradients {grad_dtype}, state {state}"
    )


def table(
    rules: Sequence[Rule], shapes: Shapes, param_dtype: str, grad_dtype: str
) -> tuple[list[str], list[list[str]]]:
    """Return columns, and a row per rule.

    Variants of a rule that keep the same state share a row, under the shortest of their names.
    """
    largest = max(shapes, key=math.prod)
    needs = [footprint(rule, shapes, param_dtype, grad_dtype) for rule in rules]
    power = _power(max(need.total for need in needs))
    decimal, binary = DECIMAL[power], BINARY[power]
    columns = ["rule", "state arrays"]
    columns += [f"{what}, {decimal}" for what in ("parameters", "state", "gradients", "total")]
    columns += [f"total, {binary}", "kept / parameters", "total / parameters"]
    rows: dict[tuple[str, str], list[str]] = {}
    for rule, need in zip(rules, needs, strict=True):
        kept = state_text(rule, largest)
        label = min(rows.get((rule.name, kept), [rule.label])[0], rule.label, key=len)
        parts = (need.params, need.state, need.grads, need.total)
        row = [label, kept, *(f"{count / 1000**power:,.3f}" for count in parts)]
        held = need.params + need.state
        row += [f"{need.total / 1024**power:,.3f}"]
        row += [f"{count / need.params:.3f}" for count in (held, need.total)]
        rows[rule.name, kept] = row
    return columns, list(rows.values())


def notes(shapes: Shapes, param_dtype: str) -> list[str]:
    """Return lines that tell how to read the table and which memory it leaves out."""
    sums = parameter_count(shapes) * numpy_dtype(COMPUTE_DTYPE[param_dtype]).itemsize
    power = _power(sums)
    text = (
        "Kept are parameters and state; the total has one gradient for each parameter, too. "
        f"Gradient accumulation keeps their sum besides: {sums / 1000**power:,.3f} "
        f"{DECIMAL[power]}. Clipping keeps a few numbers per tensor. Not counted: Python's "
        "objects, at most 2 kB per tensor and 50 kB more; on compiled backends addresses and "
        "partial sums, less than half a byte per parameter; on numpy, during a step, 4 MB and, "
        "for a rule that sums over a tensor, less than a byte per element of that tensor; for muon, "
        "normuon and scion, one more number like its momentum for each parameter, and what 4 MB or one matrix "
        "need for its products: at most three times as much; for shampoo and psgd_kron two, for "
        "soap three more such numbers, one more of a parameter in blocks, its square states once more, "
        "and what one matrix needs; for dion three such numbers, and some four times its basis; "
        "for galore one such number, twice its state, and what a decomposition of one matrix needs."
    )
    return textwrap.wrap(text, WIDTH)


def state_text(rule: Rule, shape: Shape) -> str:
    """Return names of the state arrays of a parameter, with the shape of those that are smaller."""
    return ", ".join(
        name if kept == shape else f"{name} ({_by(kept) or 'one number'})"
        for name, kept in state_shapes(rule, shape).items()
    )


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _power(count: int) -> int:
    """Return the power of a thousand to show such a number of bytes in."""
    return min((len(str(count)) - 1) // 3, len(DECIMAL) - 1)
