"""One Python file that needs NumPy alone: the rule's own text, run on arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...backends.numpy import BLOCK
from ...language.summation import (
    CHUNK,
    LANES,
    ROW_LANES,
    STRIP_ROWS,
    add_to_lanes,
    fold_by_halves,
    lanes_for,
    sum_rows,
    total,
)
from ..export import Exported
from .numpy_arrays import WholeArrays, sum_columns
from .python import PythonFile
from .rule_text import function_text, method_text

STEP = '''

def step({signature}):
    """One step of all parameters, in place."""
    checked(params, grads)
    h = namespace({given})
    for param, grad, entry in zip(params, grads, state, strict=True):
        if grad is not None:
            rule = rule_for(param)
            row, carry = scalars_of(rule, entry, h, grad_coefficient)
            if param.size:
                update_one(rule, SimpleNamespace(**row), param, grad, entry)
            entry.update(carry, step=entry["step"] + 1)


def update_one(rule, s, param, grad, entry):
    """The rule's text on one parameter, {by}."""
{body}

def update_part(rule, s, xp, grad, param, *states):
    """The rule's text; its results are written back, rounded once."""
    with np.errstate(all="ignore"):
        old = [np.array(state) for state in states]
        grad = s.grad_coefficient * from_{grad}(grad)
        results = rule.update(xp, s, from_{param}(param), grad, *old)
        results = results if isinstance(results, tuple) else (results,)
        param[...] = {rounded}
        for state, result in zip(states, results[1:], strict=True):
            state[...] = result
'''
FLAT = """\
    arrays = [{params}, *(entry[name].reshape(-1) for name in rule.state)]
    grad = {grads}
    for start in range(0, param.size, BLOCK):
        part = slice(start, start + BLOCK)
        xp = ArrayVocabulary(np.dtype(COMPUTE), param.size)
        update_part(rule, s, xp, grad[part], *(array[part] for array in arrays))
"""
WHOLE = """\
    rows = param.shape[0] if param.ndim else 1
    shape = (rows, param.size // rows) if rule.matrix else (param.size,)
    shapes = {{"element": shape, "row": (rows, 1), "column": (1, -1), "tensor": (1,)}}
    states = [entry[name].reshape(shapes[per]) for name, (per, _) in rule.state.items()]
    xp = ArrayVocabulary(np.dtype(COMPUTE), *shape)
    param, grad = {params}, {grads}
    update_part(rule, s, xp, grad.reshape(shape), param.reshape(shape), *states)
"""
METHODS = (
    "sqrt", "abs", "where", "_typed", "sign", "maximum", "minimum", "sum", "size", "mean", "norm"
)  # fmt: skip
CONVERSIONS = {
    "from_float64": """
def from_float64(stored):
    return np.array(stored)
""",
    "from_float32": """
def from_float32(stored):
    return np.array(stored)
""",
    "from_float16": """
def from_float16(stored):
    return stored.astype(np.float32)
""",
    "from_bfloat16": """
def from_bfloat16(bits):
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
""",
    "to_bfloat16": '''
def to_bfloat16(x):
    """The bits, rounded to nearest even; NaN stays NaN."""
    bits = np.asarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(x != x, (bits >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)
''',
}


def text(exported: Exported) -> str:
    """The text of the file."""
    file = PythonFile(exported)
    updates = [
        f"update={file.text_of_rule.add(program.rule.update)},\n    matrix={program.matrix}"
        for program in exported.programs
    ]
    reducing = any(program.sums or program.small for program in exported.programs)
    about = []
    if reducing:
        about.append(
            "Sums have a fixed order, so that their bits are the same everywhere; temporaries are "
            "as large as the largest parameter."
        )
    used = _vocabulary(str(file.text_of_rule))
    rule = f"# ---- the rule's own text\n\n\n{file.text_of_rule}\n"
    vocabulary = "# ---- what it is written in\n\n" + file.scalar_vocabulary() + "\n" + _class(used)
    vocabulary += "".join(f"\n\n{function_text(each)}\n" for each in _sums(used))
    conversions = "".join(
        f"\n{code}"
        for name, code in CONVERSIONS.items()
        if name in (f"from_{exported.dtype}", f"from_{exported.grad_dtype}", f"to_{exported.dtype}")
    )
    constants = _constants(used, reducing) + file.constants(updates)
    host = f"# ---- the optimizer\n\n{constants}\n{file.host()}{_step(file, reducing)}"
    top = file.docstring("NumPy alone", about) + "\n" + file.imports()
    parts = [top, rule, vocabulary, host + conversions, exported.check]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _vocabulary(text: str) -> list[str]:
    """The methods that the rule's text calls, and those that these call."""
    used, todo = set(), re.findall(r"\bxp\.(\w+)", text)
    while todo:
        name = todo.pop()
        if name not in used and callable(getattr(WholeArrays, name, None)):
            used.add(name)
            todo += re.findall(r"\bself\.(\w+)\(", method_text(getattr(WholeArrays, name)))
    return [name for name in METHODS if name in used]


def _class(used: list[str]) -> str:
    methods = [method_text(getattr(WholeArrays, name)) for name in ("__init__", *used)]
    head = '\nclass ArrayVocabulary:\n    """What `update` may call, on arrays of one dtype."""\n\n'
    return head + "\n\n".join(methods) + "\n"


def _sums(used: list[str]) -> list[Callable[..., Any]]:
    if "sum" not in used:
        return []
    return [total, sum_rows, sum_columns, add_to_lanes, lanes_for, fold_by_halves]


def _constants(used: list[str], reducing: bool) -> str:
    text = ""
    if not reducing:
        text += f"BLOCK = {BLOCK:_}  # elements at a time, so that temporaries stay in the cache\n"
    if "sum" in used:
        names = "CHUNK, LANES, ROW_LANES, STRIP_ROWS"
        text += f"{names} = {CHUNK:_}, {LANES:_}, {ROW_LANES}, {STRIP_ROWS}  # the order of sums\n"
    return text


def _step(file: PythonFile, reducing: bool) -> str:
    dtype, grad_dtype = file.exported.dtype, file.exported.grad_dtype
    views = {
        "params": "param.reshape(-1)" + ".view(np.uint16)" * (dtype == "bfloat16"),
        "grads": "grad.reshape(-1)" + ".view(np.uint16)" * (grad_dtype == "bfloat16"),
    }
    return STEP.format(
        signature=file.signature("params", "grads", "state", more=["grad_coefficient=1.0"]),
        given=file.given(),
        by="all at once" if reducing else "block by block",
        body=(WHOLE if reducing else FLAT).format(**views),
        param=dtype,
        grad=grad_dtype,
        rounded="to_bfloat16(results[0])" if dtype == "bfloat16" else "results[0]",
    )
