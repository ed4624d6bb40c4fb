"""One page for each built-in rule, made from the rule itself: nothing on it is written twice.

``python docs/make/rule_pages.py module:name`` prints the page of a rule of your own, in Markdown;
its module is looked for in the current folder, as `samestep show` does.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from equations import equations
from samestep.golden.cases import variants
from samestep.language.intervals import FINITE, USUAL_BOUNDS
from samestep.language.rule import Rule
from samestep.rules import classes
from samestep.tools.cli.rules import rule_named
from samestep.tools.memory.footprint import footprint
from samestep.tools.memory.run import state_text

CHOICE = """
If in doubt, take AdamW, and try learning rates a factor of three apart.

| you have | take |
|---|---|
| noisy gradients of mini-batches | AdamW, NAdam; RAdam if you have no warm-up |
| such gradients, and losses that jump now and then | StableAdamW, ADOPT |
| very many steps on noisy gradients | AdEMAMix, MARSAdamW, Adan |
| no idea how many steps there will be | AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree |
| time to tune the learning rate and a schedule | SGD with momentum |
| time to tune the learning rate, but no schedule | MADGRAD |
| little memory | Adafactor, APOLLOMini, SM3, CAME, AdamMini, Lion, Signum, SGD |
| estimates of the Hessian's diagonal now and then ([how](../howto/hessian.md)) | Sophia |
| weights of which only the direction matters, before normalization | SGDP, AdamP |
| a linear model of very many features, most of which should be exactly 0 | FTRL |
| embedding tables with sparse gradients | SparseAdam, Adagrad, SGD |
| very large batches | LAMB, LARS, NovoGrad |
| exact gradients of all data, badly scaled parameters | Rprop |
| a convex problem, and want the average of the steps, in the state `ax` | ASGD |
| a network with recurrent state, or old recipes to follow | RMSprop, Adadelta, Adamax |
"""

MATRIX = (4096, 4096)  # the parameter that bytes are counted for


def rule_pages() -> dict[str, str]:
    """Return the Markdown of all pages, by path in the site: an index, and a page for each rule."""
    pages = {f"rules/{rule.name}.md": _page_of_class(name, rule) for name, rule in classes.items()}
    return {"rules/index.md": _index(), **pages}


def own_page(word: str) -> str:
    """Return the page of a rule of your own, which is given as ``module:name``.

    Raises TypeError or ValueError if there is no such rule.
    """
    module, colon, name = word.partition(":")
    if not colon:
        raise ValueError(
            f"{word}: expected module:name; built-in rules have their pages on the site"
        )
    rule = rule_named(word)
    example = _example(f"ss.Optimizer({name}, params)", f"from {module} import {name}")
    return _page(rule.name, rule, [rule], example, [])


def _index() -> str:
    lines = [
        "# Rules",
        CHOICE,
        "Each page is made from the rule's own text: the equations are those that kernels are "
        "printed from. Bytes are those of the state of one float32 parameter in a matrix of "
        f"{MATRIX[0]:,} × {MATRIX[1]:,}; the parameter itself takes 4, its gradient 4.",
        "",
        "| class | state, bytes a parameter | from |",
        "|---|---|---|",
    ]
    for name, rule in classes.items():
        lines.append(f"| [{name}]({rule.name}.md) | {_bytes(rule, 'float32')} | {rule.reference} |")
    return "\n".join(lines)


def _page_of_class(name: str, rule: Rule) -> str:
    family = [each for each in variants() if each.name == rule.name]
    return _page(name, rule, family, _example(f"ss.{name}(params)"), _text(rule))


def _page(
    title: str, rule: Rule, family: list[Rule], example: Iterable[str], text: Iterable[str]
) -> str:
    """Return the page of a rule and its other variants. ``example`` and ``text`` are the lines on
    how an optimizer is made, and on where the rule comes from."""
    others = [each for each in family if each.label != rule.label]
    shown = equations(rule)
    return "\n".join(
        [
            f"# {title}",
            "",
            rule.reference,
            "",
            *example,
            "## One step",
            "",
            "All lines run from top to bottom; `t` is the number of the step, from 1 on. What is "
            "not on the left of an arrow is a hyperparameter, the gradient, or what the last step "
            "has left.",
            *_explained(shown),
            "",
            shown,
            "",
            *_hyperparameters(rule),
            *_state(family),
            *text,
            *_variants(others),
        ]
    )


def _explained(shown: str) -> Iterator[str]:
    """Yield a sentence on what stands in the equations and is no usual mathematics."""
    if "finite_or_zero" in shown:
        yield (
            "`finite_or_zero(x)` is x, or 0 where x is infinite or NaN: such a parameter neither "
            "decays nor counts in a norm."
        )
    if "random sign" in shown:
        yield (
            "A random sign is 1 or -1 for each column: minus where the highest bit of 16 is set, of "
            "Philox4x32-10 with the key (seed, renewal) and the counter (index / 8, 0, 0, 2**32 - 1), "
            "whose four words are the bits of eight neighbours, the low half of a word first."
        )


def _example(made: str, *imports: str) -> Iterator[str]:
    """Yield a program that takes a step with the optimizer that the expression ``made`` makes."""
    yield from (
        "```python",
        "import numpy as np",
        "import samestep as ss",
        *imports,
        "",
        "params = [np.ones((3, 4), np.float32)]",
        f"opt = {made}",
        "opt.step([np.full((3, 4), 0.5, np.float32)])  # params[0] has changed",
        "```",
        "",
    )


def _hyperparameters(rule: Rule) -> Iterator[str]:
    yield from ("## Hyperparameters", "", "| name | default | range |", "|---|---|---|")
    for name, default in rule.defaults.items():
        if isinstance(default, bool):
            bounds = "True or False"
        else:
            bounds = _shown(rule.bounds.get(name) or USUAL_BOUNDS.get(name, FINITE))
        named = [repr(value) for value in rule.choices.get(name, ()) if value is not None]
        bounds += "".join(f", or `{value}` (fixed after the first step)" for value in named)
        yield f"| `{name}` | `{default}` | {bounds} |"
    for name, on in rule.options.items():
        if name not in rule.defaults:
            values = " or ".join(f"`{value!r}`" for value in rule.choices.get(name, ()))
            yield f"| `{name}` | `{on!r}` | {values or 'True or False'}; fixed after the first step |"
    yield from (
        "",
        "Every rule also takes `maximize`, `clip_value`, `clip_norm` and `weight_decay_mask`; any "
        "number may be a [schedule](../howto/schedules.md).",
        "",
    )


def _shown(bounds: Any) -> str:
    """Return an interval in words, or those of a tuple's entries."""
    if isinstance(bounds, tuple):
        return ", ".join(map(_shown, bounds))
    return "any finite number" if bounds == FINITE else str(bounds).replace("inf", "∞")


def _state(family: list[Rule]) -> Iterator[str]:
    yield from (
        "## State and memory",
        "",
        f"Bytes of state for each parameter of a matrix of {MATRIX[0]:,} × {MATRIX[1]:,}. "
        "State of 16-bit parameters is float32.",
        "",
        "| variant | state | float32 or 16 bits | float64 |",
        "|---|---|---|---|",
    )
    for rule in family:
        kept = state_text(rule, MATRIX).replace("4096", "one per row or column")
        names = re.sub(r"\b([a-z]\w*_\w+|sum|prev|eta|ax|mu|z)\b", r"`\1`", kept) or "none"
        sizes = (_bytes(rule, dtype) for dtype in ("float32", "float64"))
        yield f"| `{rule.label}` | {names} | {' | '.join(sizes)} |"
    yield from ("", "For your model: `samestep memory --params 7e9`.", "")


def _bytes(rule: Rule, dtype: str) -> str:
    """Return the bytes of state for each parameter."""
    size = footprint(rule, {MATRIX: 1}, dtype, dtype).state / (MATRIX[0] * MATRIX[1])
    return f"{size:.3f}".rstrip("0").rstrip(".")


def _text(rule: Rule) -> Iterator[str]:
    """Yield what the rule's file says of its papers and of other libraries."""
    module = sys.modules[inspect.unwrap(rule.update).__module__]
    path = Path("core", "rules", Path(str(module.__file__)).name).as_posix()
    yield from ("## Where it comes from, and where libraries differ", "")
    yield re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(module.__doc__ or ""), flags=re.DOTALL)
    yield from ("", f"All of its text: [{path}](../../{path}).", "")


def _variants(others: list[Rule]) -> Iterator[str]:
    if others:
        yield from ("## Variants", "")
    for rule in others:
        said = ", ".join(f"`{name}={on!r}`" for name, on in rule.options.items())
        yield from (f"### {rule.label}", "", f"{said}", "", equations(rule), "")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("rule", metavar="module:name")
    try:
        print(own_page(options.parse_args().rule))
    except (TypeError, ValueError) as error:
        options.error(str(error))
