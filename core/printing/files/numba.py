"""One Python file that needs NumPy and Numba: printed kernels, one launch a pass for all
parameters, on all cores."""

from __future__ import annotations

from ...language.summation import CHUNK, STRIP_ROWS
from ..export import Exported
from ..numba import NumbaPrinter
from ..numba_helpers import POINTER
from .python import PythonFile

OPTIONS = """\
options = dict(nogil=True, error_model="numpy", fastmath=False, cache=True)
sqrt = np.sqrt
"""
STEP = '''

def step({signature}):
    """One step of all parameters, in place, on as many threads as SAMESTEP_THREADS says, by
    default one per core. No bit depends on how many there are."""
    checked(params, grads)
    h = namespace({given})
    taken = []
    for param, grad, entry in zip(params, grads, state, strict=True):
        if grad is not None:
            rule = rule_for(param)
            row, carry = scalars_of(rule, entry, h, grad_coefficient)
            taken.append((rule, list(row.values()), (param, grad, entry), carry))
    for rule in {rules}:
        of_rule = [(row, tensor) for its, row, tensor, _ in taken if its is rule and tensor[0].size]
        if of_rule:
            launch(rule, np.array([row for row, _ in of_rule]), [tensor for _, tensor in of_rule])
    for _, _, (_, _, entry), carry in taken:
        entry.update(carry, step=entry["step"] + 1)


def launch(rule, rows, tensors):
    """{launches}"""
{body}

def run(kernel, args, lines, elements):
    """A kernel on ranges of its table, each on a thread of its own."""
    threads = int(os.environ.get("SAMESTEP_THREADS") or os.cpu_count() or 1)
    if elements < SMALL_WORK or threads == 1:
        kernel(*args, 0, lines)
    else:
        cuts = [lines * k // threads for k in range(threads + 1)]
        done = pool(threads).map(lambda k: kernel(*args, cuts[k], cuts[k + 1]), range(threads))
        list(done)  # waits, and raises what a thread raised


@functools.cache
def pool(threads):
    return ThreadPoolExecutor(threads)
'''
FLAT = """\
    table = []
    for row, (param, grad, entry) in enumerate(tensors):
        arrays = {"param": param, "grad": grad, **entry}
        start = np.arange(0, param.size, CHUNK)
        lines = np.zeros((len(start), 2 + len(rule.arrays)), np.int64)
        lines[:, 0], lines[:, 1] = row, np.minimum(param.size - start, CHUNK)
        for column, name in enumerate(rule.arrays, 2):
            lines[:, column] = arrays[name].ctypes.data + start * arrays[name].itemsize
        table.append(lines)
    table = np.concatenate(table)
    for kernel, _ in rule.kernels:
        run(kernel, (table, rows), len(table), table[:, 1].sum())
"""
REDUCING = """\
    table, of_tensors, numbers, elements = [], [], 0, 0
    for row, (param, grad, entry) in enumerate(tensors):
        arrays = {"param": param, "grad": grad, **entry}
        unit, size, columns = CHUNK, param.size, 1
        if rule.matrix:  # the first axis against all others
            unit, size = STRIP_ROWS, param.shape[0] if param.ndim else 1
            columns = param.size // size
        index = np.arange(-(-size // unit))
        lines = np.zeros((len(index), 4 + len(rule.arrays)), np.int64)
        lines[:, 0], lines[:, 1] = row, np.minimum(size - index * unit, unit)
        for column, name in enumerate(rule.arrays, 2):
            step = unit * columns * arrays[name].itemsize
            lines[:, column] = arrays[name].ctypes.data + index * step
        lines[:, -2], lines[:, -1] = row, index
        table.append(lines)
        starts = numbers + np.cumsum([0, *rule.slots(size, columns, len(index))])
        small = [arrays[name].ctypes.data for name in rule.small]
        of_tensors.append([row, size, columns, len(index), *small, *starts[:-1]])
        numbers, elements = starts[-1], elements + param.size
    table, of_tensors = np.concatenate(table), np.array(of_tensors, np.int64)
    args = (table, rows, of_tensors, np.zeros(numbers, COMPUTE))
    for kernel, over in rule.kernels:
        run(kernel, args, len(of_tensors if over == "tensors" else table), elements)
"""


def text(exported: Exported) -> str:
    """The text of the file."""
    file = PythonFile(exported)
    printers = [NumbaPrinter(p, exported.dtype, exported.grad_dtype) for p in exported.programs]
    first = printers[0]
    kernels = "\n\n".join(printer.kernels() for printer in printers)
    imports = "\n".join(
        [
            f"from numpy import {first.compute}" + ", uint64" * ("uint64(" in kernels),
            "from numba import carray, njit, types",
            "from numba.extending import intrinsic",
        ]
    )
    reducing = any(printer.layout.reducing for printer in printers)
    standard = ["import functools", "import os"]
    standard.append("from concurrent.futures import ThreadPoolExecutor")
    constants = [f"CHUNK = {CHUNK:_}  # elements, of which a line of the launch table takes care"]
    if reducing:
        constants.append(f"STRIP_ROWS = {STRIP_ROWS}  # the same, of a matrix")
    constants.append(f"SMALL_WORK = {1 << 15:_}  # elements; done before another thread wakes up")
    table = file.constants([_kernels(printer, reducing) for printer in printers])
    host = "\n".join(constants) + f"\n{table}\n{file.host()}{_step(file, reducing)}"
    code = f"{first.helpers_for(kernels)}\n\n{kernels}".strip("\n")
    parts = [
        file.docstring("NumPy and Numba", [])
        + "\n"
        + file.imports(*standard, *imports.split("\n")),
        f"# ---- the rule's own text, of scalars\n\n\n{file.text_of_rule}\n",
        "# ---- what it is written in\n\n" + file.scalar_vocabulary(),
        f"# ---- the kernels\n\n{OPTIONS}{POINTER}\n\n{code}",
        f"# ---- the optimizer\n\n{host}",
        exported.check,
    ]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _kernels(printer: NumbaPrinter, reducing: bool) -> str:
    """What a launch must know of a variant."""
    layout, names = printer.layout, printer.functions()
    pairs = [f'({name}, "{"tensors" if kind == "fold" else "chunks"}")' for name, kind, _ in names]
    lines = [
        f"kernels={_tuple(pairs)}",
        f"arrays={_tuple([_quoted(name) for name in printer.program.arrays])}",
    ]
    if reducing:
        sizes = [layout.slot_size(node, "size", "columns", "chunks") for node in layout.slots]
        lines += [
            f"small={_tuple([_quoted(name) for name in printer.program.small])}",
            f"matrix={layout.matrix}",
            f"slots=lambda size, columns, chunks: {_tuple(sizes)}",
        ]
    return ",\n    ".join(lines)


def _tuple(items: list[str]) -> str:
    """In one line if that is short, else a line each."""
    line = f"({', '.join(items)}{',' * (len(items) == 1)})"
    return line if len(line) < 80 else "(\n" + "".join(f"        {i},\n" for i in items) + "    )"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _step(file: PythonFile, reducing: bool) -> str:
    rules = "(MATRICES, VECTORS)" if len(file.rules) > 1 else "(RULE,)"
    launches = "All chunks of all tensors in one launch."
    if reducing:
        launches = "One pass after the other over the chunks of all tensors, folds between them."
    return STEP.format(
        signature=file.signature("params", "grads", "state", more=["grad_coefficient=1.0"]),
        given=file.given(),
        rules=rules,
        launches=launches,
        body=REDUCING if reducing else FLAT,
    )
