"""One Python file that needs NumPy alone: the rule's own text, run on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...language import random_signs, rounding, summation
from ...language.rounding import ROUNDED, streams
from ...language.rule import Rule
from ...language.summation import CHUNK, LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS
from ..exported import Exported
from ..quoting import literal
from ..templates import Words, filled, read
from .numpy_arrays import WholeArrays, sum_columns
from .python import PythonFile, joined, whole_file
from .rule_text import attributes, function_text, method_text

BLOCK = 16_384  # elements; few enough for temporaries to stay in the cache
METHODS = (
    "sqrt", "abs", "where", "_typed", "sign", "cube_root", "finite_or_zero", "maximum", "minimum",
    "sum", "max_abs", "random_signs", "size", "mean", "norm", "upper_half", "lower_half", "from_halves",
)  # fmt: skip
SUMS = (
    summation.total, summation.sum_rows, sum_columns, summation.sum_in_lanes, summation.add_to_lanes,
    summation.lanes_for, summation.fold_by_halves, summation.add_neighbours,
)  # fmt: skip
TEXTS = read("numpy_file.py.txt")


def text(exported: Exported) -> str:
    """Return the text of the file."""
    return whole_file(exported, _text)


def _text(file: PythonFile) -> str:
    exported = file.exported
    dtype, grad_dtype = exported.dtype, exported.grad_dtype
    updates = [
        f"update={file.text_of_rule.add(program.rule.update)},\n    matrix={program.matrix}"
        + f",\n    {_streams(program.rule, dtype)}" * file.rounds
        for program in exported.programs
    ]
    reducing = any(program.asked or program.small for program in exported.programs)
    used = _vocabulary(str(file.text_of_rule))
    methods = [method_text(getattr(WholeArrays, name)) for name in ("__init__", *used)]
    if "stored" in attributes(str(file.text_of_rule)):
        methods.append(TEXTS[f"stored as {dtype}"].strip("\n"))
        methods += [] if "_typed" in used else [method_text(WholeArrays._typed)]
    functions = SUMS if "sum" in used else ()
    constants = ""
    if not reducing:
        constants = (
            f"BLOCK = {BLOCK:_}  # elements at a time, so that temporaries stay in the cache\n"
        )
    if "sum" in used:
        constants += (
            "# the order of sums\nCHUNK, LANES, ROW_CHUNK, ROW_LANES, STRIP_ROWS = "
            f"{CHUNK:_}, {LANES:_}, {ROW_CHUNK:_}, {ROW_LANES}, {STRIP_ROWS}\n"
        )
    rounds = file.rounds
    body: Words = {
        "START": "(i, start), " * rounds,
        "ALL": "(i, 0), " * rounds,
        "PARAMS": "param.reshape(-1)" + ".view(np.uint16)" * (dtype == "bfloat16"),
        "GRADS": "grad.reshape(-1)" + ".view(np.uint16)" * (grad_dtype == "bfloat16"),
    }
    words: Words = {
        "BY": "all at once" if reducing else "block by block",
        "BODY": filled(TEXTS["whole" if reducing else "flat"], body),
        "POSITION": "i, " * rounds,
        "FIRST": "place, " * rounds,
        "PARAM": dtype,
        "GRAD": grad_dtype,
        "ROUNDED": "to_bfloat16(results[0])" if dtype == "bfloat16" else "results[0]",
        "OLD": "[np.array(state) for state in states]",
        "STORES": _lines("plain stores"),
    }
    bits = "bfloat16" in file.storage.values()
    if file.storage:
        old = "[loaded(*named) for named in zip(rule.state, states, strict=True)]"
        words = {**words, "OLD": old, "STORES": _rounded_stores(rounds)}
    signs = "random_signs" in used
    constants += "WORD = 0xFFFFFFFF\n" * (rounds or signs)
    if rounds and dtype in ROUNDED:
        rounded = 'by_chance(rule, "param", param, results[0], s, *place)'
        words = {**words, "ROUNDED": rounded}
    words = {**words, "UPDATE": "update_blocks" if file.blocks else "update_one"}
    step = file.step(TEXTS["step"], words)
    if file.blocks:
        step += f"\n{filled(TEXTS['blocks'], words)}{file.block_functions(loads=True)}"
    needed = {f"from_{dtype}", f"from_{grad_dtype}"} | ({f"to_{dtype}"} if not rounds else set())
    needed |= {"from_bfloat16", "to_bfloat16"} if bits else set()
    needed |= {"to_bfloat16"} if file.storage else set()  # what states start with
    conversions = [f"\n{code}" for name, code in TEXTS.items() if name in needed]
    return joined(
        f"{file.docstring('NumPy alone', reducing or bool(file.blocks))}\n{file.imports()}",
        f"# ---- the rule's own text\n\n\n{file.own_text}",
        f"# ---- what it is written in\n\n{file.scalar_vocabulary()}\n{TEXTS['vocabulary']}"
        + "\n\n".join(methods) + "\n" + "".join(f"\n\n{function_text(each)}\n" for each in functions),
        f"# ---- the optimizer\n\n{constants}{file.maps()}{file.constants(updates)}\n{file.host()}{step}"
        + (_codecs(bits) if file.storage else "") + "".join(conversions) + _random_bits(rounds, signs),
        exported.check,
    )  # fmt: skip


def _lines(name: str) -> list[str]:
    return TEXTS[name].rstrip("\n").splitlines()


def _rounded_stores(rounds: bool) -> list[str]:
    """Return the lines that store states of which some have codecs."""
    store = ["state[...] = rounded(name, result)"]
    if rounds:
        chance = "    state[...] = by_chance(rule, name, state, result, s, *place)"
        store = ["if name in rule.streams:", chance, "else:", f"    {store[0]}"]
    text = filled(TEXTS["rounded stores"], {"STORE": store})
    return text.rstrip("\n").splitlines()


def _codecs(bits: bool) -> str:
    """Return the functions that load and store states; ``bits``: some are bfloat16's."""
    of_bits = ' if STORED.get(name) == "bfloat16" else '
    words: Words = {
        "LOADED": f"from_bfloat16(state){of_bits}" * bits + "state.astype(COMPUTE)",
        "ROUNDED": f"to_bfloat16(result){of_bits}" * bits + "result",
    }
    return "".join(f"\n{filled(TEXTS[name], words)}" for name in ("loaded", "rounded"))


def _streams(rule: Rule, dtype: str) -> str:
    """Return the number and dtype of each array of a variant's that is rounded by random bits, as
    an argument."""
    stored = {**rule.storage, "param": dtype}
    return f"streams={literal({n: (k, stored[n]) for n, k in streams(rule, dtype).items()})}"


def _random_bits(rounds: bool, signs: bool) -> str:
    """Return the functions that round by random bits, or make random signs, if there are any."""
    functions: list[Callable[..., Any]] = []
    functions += [rounding.philox, rounding.halves] if rounds or signs else []
    functions += [rounding.rounded_bits, rounding.at_most, rounding.where] if rounds else []
    functions += [random_signs.random_signs] if signs else []
    texts = [f"\n\n{function_text(each)}\n" for each in functions]
    return "".join([f"\n{TEXTS['random bits']}" * rounds, *texts])


def _vocabulary(text: str) -> list[str]:
    """Return the methods that the rule's text calls, and those that these call."""
    used: set[str] = set()
    todo = attributes(text)
    while todo:
        name = todo.pop()
        if name not in used and callable(getattr(WholeArrays, name, None)):
            used.add(name)
            todo |= attributes(function_text(getattr(WholeArrays, name)), "self")
    return [name for name in METHODS if name in used]
