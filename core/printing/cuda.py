"""Printer of a rule as CUDA C: a kernel per pass and a kernel per fold, or part of a fold.

How the kernels are called
--------------------------
All kernels of a rule take the same arguments, every one of them a pointer to device memory:

=================  =====================  =======================================================
``table``          ``const int64_t *``    a line per chunk; the columns are those of `Layout`
``rows``           ``const REAL *``       a line per row of scalars, in the order of the program's
                                          ``scalars``, without the gradient's coefficient
``coefficients``   ``const double *``     one per row: what multiplies the gradient
``control``        ``const double *``     two numbers: a factor of all ``coefficients``, and
                                          whether to skip: unless it is 0, nothing is done.
                                          1 and 0 where there is neither
``tensors``        ``const int64_t *``    a line per tensor; only in rules that reduce or keep
                                          state smaller than the parameter
``workspace``      ``REAL *``             what passes hand to each other; only with ``tensors``
=================  =====================  =======================================================

``REAL`` is the compute dtype. The product ``coefficients[row] * control[0]`` is in double and
rounded once. Addresses in the tables are those of global memory, at least as aligned as an element.

- Block: 256 threads in x, for all kernels.
- Grid: x = lines of what the launch is over, ``table`` or ``tensors`` (see `Printer.functions`).
  y = 1, or any number where the launch is divisible: the blocks of one line then share it. Bits do
  not depend on it.
- Launches follow each other in the order of `Printer.functions`, on one stream. A tensor that is
  not seen as a matrix may have up to ``CHUNK**2`` chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..language.dtypes import numpy_dtype
from ..language.passes import Step
from ..language.summation import LANES, ROW_CHUNK
from .c_family import C_TYPE, CFamily, function, title
from .cuda_blocks import loops_over_blocks, share_loops
from .cuda_folds import Kernel, add_chunks, fold_kernels, vector_loop
from .cuda_tiles import ALL_COLUMNS, NAMES, columns_at_once, has_maxima, tile_loops
from .cuda_tiles import BLOCK as BLOCK
from .folds import all_parts, parts
from .printer import Printer
from .target import Launch, Lines, indented
from .templates import read

# of NVRTC: without the first four it contracts, approximates and flushes. Without the last one,
# releases up to 13.1 take a lambda with `auto` arguments for a host function and refuse to call it
OPTIONS = (
    "--fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false", "--std=c++17",
    "-default-device",
)  # fmt: skip
WIDEST = 16  # bytes that one load or store moves
MOST_GROUPS = (
    7  # of arrays and lanes that a thread adding up has at once; of more, it has half as much
)
TEXTS = read("cuda_helpers.cu")
HEAD = TEXTS.pop("head")


class Cuda(CFamily):
    """CUDA C: a kernel per pass, a block per chunk or tile of the launch table; kernels for each
    fold, spread over tiles where its numbers exist per row or column."""

    helpers = CFamily.helpers | TEXTS
    needed_by = CFamily.needed_by | {
        "group": ("each_group", "in_blocks"),
        "width": ("each_group", "in_blocks", "width"),
        "fold": ("fold", "total", "sum_chunks"),
        "lanes_for": ("lanes_for", "total", "sum_chunks"),
        "add_lines": ("add_lines",),
    }
    reserved = CFamily.reserved | NAMES | {
        "coefficients", "control", "before", "before_groups", "each_group", "load", "store", "Width",
        "Group", "BLOCK", "element", "GLOBAL", "gridDim", "blockDim", "aligned",
        "load_some", "store_some", "top_of_group", "unpacked", "packed",
    }  # fmt: skip
    declared = "static __device__ __forceinline__"
    constant_array = "static __device__ const"
    tile_columns = ROW_CHUNK
    quotient = " / (uint64_t)"  # of signed numbers it takes three more instructions
    threads = ("threadIdx.x", "blockDim.x")
    barrier, once = ["__syncthreads();"], "if (threadIdx.x == 0) "

    def helper_texts(self, called: set[str]) -> str:
        largest = self.typed_constant(float(np.finfo(self.compute).max))
        return super().helper_texts(called).replace("LARGEST", largest)

    def random(self, name: str) -> str:
        return f"{self.prefix}half_of({name}.words, k)"

    def scalar(self, name: str, scalars: Sequence[str]) -> str:
        if name == "grad_coefficient":
            product = "coefficients[row] * control[0]"
            return product if self.real == "double" else f"({self.real})({product})"
        return f"rows[row * {len(scalars) - 1} + {scalars.index(name)}]"

    def flat_loops(self, printer: Printer, step: Step, element: Lines) -> Lines:
        if printer.blocks_of(step):
            return loops_over_blocks(printer, step, element, BLOCK)
        return _loops_over_groups(printer, step, element)

    def tile_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return tile_loops(printer, step, per_row, element)

    def share_loops(self, printer: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
        return share_loops(printer, step, per_row, element, BLOCK)

    def vector_loop(self, printer: Printer, variable: str, count: str, body: Lines) -> Lines:
        return vector_loop(printer, variable, body)

    def sum_as_row(self, printer: Printer, values: str, sums: str) -> str:
        return add_chunks(printer, sums)

    def fold_launches(self, printer: Printer, name: str, fold: Step) -> list[Launch]:
        return [launch for launch, _ in self.fold_kernels(printer, name, fold)]

    def fold_kernels(self, printer: Printer, name: str, fold: Step) -> list[Kernel]:
        """Return the launches of a fold and what prints the body of each."""
        return fold_kernels(printer, name, fold)

    def source(self, printer: Printer) -> str:
        body = kernels(printer)
        return f"{title(printer)}{HEAD}{self.helper_texts(printer.called)}\n{body}"


class CudaOfTiles(Cuda):
    """CUDA C for matrices that are one tile each: the block of a pass has finished the sums of its
    matrix, so one kernel with a block for each matrix does what is left of a fold."""

    def vector_loop(self, printer: Printer, variable: str, count: str, body: Lines) -> Lines:
        return printer.shared_loop(variable, count, body)

    def sum_as_row(self, printer: Printer, values: str, sums: str) -> str:
        arguments = [self.behind(printer.use(values)), "0", "size", self.behind(sums)]
        chunks = f"{printer.helper('sum_chunks', *arguments)};"
        return f"{chunks} {add_chunks(printer, sums)}"

    def fold_kernels(self, printer: Printer, name: str, fold: Step) -> list[Kernel]:
        if not any(part.roots for part in parts(printer, fold)):
            return []
        return [(Launch(name, "tensors", False), lambda: all_parts(printer, fold))]


def kernels(printer: Printer) -> str:
    """Return the texts of all kernels."""
    texts: Lines = []
    target = printer.target
    assert isinstance(target, Cuda)
    for kind, k in printer.program.launches:
        if kind == "pass":
            texts.append(_pass(printer, k))
        else:
            fold = printer.program.folds[k]
            for launch, body in target.fold_kernels(printer, printer.name_of(kind, k), fold):
                texts.append(_fold(printer, launch, fold, body))
    return "\n".join(texts)


def _pass(p: Printer, k: int) -> str:
    step, layout = p.program.passes[k], p.layout
    p.begin()
    by_row = layout.matrix and not p.in_order(step)
    kind, place = (
        ("row", "[k]" if columns_at_once(step) == ALL_COLUMNS else "")
        if by_row
        else ("group", ".at[k]")
    )
    p.placed = {array: p.new_name(f"{array}_{kind}") + place for array in p.program.arrays}
    body = p.pass_body(step)
    lines = [
        f"alignas({WIDEST}) __shared__ {p.target.real} {name}[{size}];"
        for name, size in p.lanes.items()
    ]
    views = [_view(p, name, f"chunk[{layout.array[name]}]", step) for name in p.touched(step)]
    lines += [*_line_of_table(p), *views]
    # Where there are sums, left alone, ptxas aims at four blocks a multiprocessor and spills on
    # sm_80. Three that load 16 bytes at a time keep enough under way.
    # Over tiles, which move 4 bytes at a time, three keep the threads that hide the way to memory.
    # Eight elements a thread, and the search of a map, spill on sm_75 in the same way; blocks of a
    # matrix, of which each element has its row, its column and its scale, on sm_80 and sm_120.
    blocks = p.blocks_of(step)
    searches = any(codec.most is None for codec in blocks.values())
    # So do four arrays of a matrix, of which a thread has two columns at a time: of 16 bits, left
    # alone, on sm_120, and in float64 with three blocks on sm_100.
    wide = layout.matrix and len(step.loads) > 3
    crowded = step.sums or searches or (blocks and layout.matrix) or wide
    # A pass that stores besides, and sums along both axes, spills on sm_120 with three in float32.
    both = {node.per for node in step.sums} == {"row", "column"} and step.stores
    # With maxima it does so in float64, too.
    three = layout.matrix and not (
        (wide and p.target.real == "double")
        or (both and (p.target.real == "float" or has_maxima(step)))
    )
    bounds = f"{BLOCK}, {3 if three else 2}" if crowded else f"{BLOCK}"
    if "grad" in step.loads:
        p.use("coefficients")
    return _kernel(p, p.name_of("pass", k), step, [*lines, *_slots(p), *body], bounds)


def _fold(p: Printer, launch: Launch, fold: Step, body: Callable[[], Lines]) -> str:
    p.begin()
    statements = body()
    lines = _line_of_table(p) if launch.over == "table" else _line_of_tensors(p)
    lines += [
        _view(p, name, f"tensor[{p.layout.small[name]}]")
        for name in p.program.small
        if p.arrays[name] in p.used
    ]
    # In float64, left alone, ptxas aims at four blocks here, too, and spills on sm_120.
    crowded = launch.over == "table" and p.target.real == "double"
    bounds = f"{BLOCK}, 2" if crowded else f"{BLOCK}"
    return _kernel(p, launch.name, fold, [*lines, *_slots(p), *statements], bounds)


def _line_of_table(p: Printer) -> Lines:
    """Return what a kernel over the lines of ``table`` begins with."""
    layout = p.layout
    length = _of_tile(p, "height", "chunk[1]") if layout.matrix else p.integer("n", "chunk[1]")
    p.use("table")
    lines = [
        f"const int64_t *chunk = table + (int64_t)blockIdx.x * {layout.table_columns};",
        "const int64_t row = chunk[0];",
        *length,
        "if (row < 0 || control[1] != 0) return;",
    ]
    lines += p.integer("position", f"chunk[{layout.position}]")
    lines += p.integer("first_element", f"chunk[{layout.first_element}]")
    if not layout.reducing:
        return lines
    p.use("tensors")
    lines.append(
        f"const int64_t *tensor = tensors + chunk[{layout.tensor}] * {layout.tensors_columns};"
    )
    if not layout.matrix:
        return [*lines, *p.integer("index", f"chunk[{layout.index}]"), *_sizes(p)]
    most, left = layout.tile_columns, "columns - first_column"
    width = _of_tile(
        p, "tile_width", f"{p.target.smaller(str(most), left)}", "columns first_column"
    )
    start = p.tile_start()
    lines += p.integer("first_row", f"chunk[{layout.first_row}]")
    lines += p.integer("first_column", f"chunk[{layout.first_column}]")
    return [*lines, *_sizes(p), *width, *start]


def _of_tile(p: Printer, name: str, value: str, uses: str | None = None) -> Lines:
    """Return the declaration of a number of rows or columns of a tile, which needs 32 bits only."""
    return [f"const int {name} = (int){value};" for _ in p.integer(name, value, uses)]


def _line_of_tensors(p: Printer) -> Lines:
    """Return what a kernel over the lines of ``tensors`` begins with."""
    p.use("tensors")
    return [
        f"const int64_t *tensor = tensors + (int64_t)blockIdx.x * {p.layout.tensors_columns};",
        "const int64_t row = tensor[0];",
        *_sizes(p),
        "if (row < 0 || control[1] != 0) return;",
    ]


def _sizes(p: Printer) -> Lines:
    names = ("size", "columns", "tile_rows" if p.layout.matrix else "chunks")
    return [line for k, name in enumerate(names, 1) for line in p.integer(name, f"tensor[{k}]")]


def _kernel(p: Printer, name: str, step: Step, lines: Lines, bounds: str) -> str:
    arguments = [
        "const int64_t *__restrict__ table",
        f"const {p.target.real} *__restrict__ rows",
        "const double *__restrict__ coefficients",
        "const double *__restrict__ control",
    ]
    if p.layout.reducing:
        arguments += ["const int64_t *__restrict__ tensors", f"{p.target.real} *workspace"]
    if any("rows[" in line for line in lines):
        p.use("rows")
    head = f'extern "C" __global__ void __launch_bounds__({bounds}) {name}'
    return function(head, arguments, lines, p.used | {"control"})


def _view(p: Printer, array: str, address: str, step: Step | None = None) -> str:
    """Return the declaration of an array: of a state with a number per tensor, row or column, or of
    one that a ``step`` of a pass takes."""
    const = "const " if array == "grad" else ""
    dtype, before = f"{const}{C_TYPE[p.dtype_of(array)]}", ""
    if step is not None and p.layout.matrix and p.of_tensor(step, array):
        block = p.layout.block.get(array)
        before = f" - {p.use('tile_start')}" + (f" / {block}" if block else "")
    return f"{dtype} *{p.arrays[array]} = GLOBAL({dtype}, {address}){before};"


def _slots(p: Printer) -> Lines:
    return [
        line
        for node in p.layout.slots
        for line in p.integer(p.slot_name[id(node)], f"tensor[{p.layout.slot[id(node)]}]")
    ]


def _loops_over_groups(p: Printer, step: Step, element: Lines) -> Lines:
    """Return the loop over the elements in groups of neighbours. Lanes are kept rotated by what
    stands before the first group, so that those of a group are neighbours, too: a fold by halves
    adds the same pairs. A thread has the same lanes in all rounds, since a round of the block is 1,
    2 or 4 halves, quarters or eighths of the lanes."""
    touched, real = p.touched(step), p.target.real
    count = WIDEST // min(numpy_dtype(p.stored[a]).itemsize for a in touched)
    if step.sums:  # lanes take registers, too: with 8 neighbours sm_90 spills
        count = min(count, 4)
        most = MOST_GROUPS - (p.compute == "float64")  # its roots and divisions take registers
        if len(touched) + len(step.sums) > most:
            count = max(count // 2, 1)
    pointers = ", ".join(p.arrays[array] for array in touched)
    lines = [f"const int before = before_groups<{count}>({pointers});"]
    get, put = [], []
    for array in touched:
        name, pointer = p.placed[array].removesuffix(".at[k]"), f"{p.arrays[array]} + first"
        loaded = f" = load<group.n>({pointer})" if array in step.loads else ""
        get.append(f"Group<{C_TYPE[p.stored[array]]}, group.n> {name}{loaded};")
        if array in dict(step.stores):
            put.append(f"store({pointer}, {name});")
    for array in p.rounded(step):
        random = p.helper("random_group", *p.key_and_counter(array), "element")
        get.append(f"const Random {p.random_name(array)} = {random};")
    if p.rounded(step):
        get.insert(0, f"const int64_t element = {p.use('first_element')} + first;")
    if step.sums:
        lines.append(p.width("n", LANES))
        get.insert(0, "const int64_t lane = (first - before) & (width - 1);")
    for node in step.sums:
        lanes = p.lanes_name[id(node)]
        name = p.new_name(f"{lanes.removesuffix('_lanes')}_group")
        lines += p.zero_lanes(node, LANES)
        get.append(f"Group<{real}, group.n> {name} = load<group.n>({lanes} + lane);")
        element = [*element, p.add(f"{name}.at[k]", node)]
        put.append(f"store({lanes} + lane, {name});")
    lines += p.target.barrier if step.sums else []
    each = ['_Pragma("unroll")', "for (int k = 0; k < group.n; k++) {", *indented(element), "}"]
    lines += ["const auto update = [&](auto group, int64_t first) {"]
    lines += [*indented([*get, *each, *put]), "};"]
    thread, threads = p.target.threads
    if p.divisible(step):
        thread, threads = "blockIdx.y * blockDim.x + threadIdx.x", "gridDim.y * blockDim.x"
    p.called.add("each_group")
    lines.append(f"each_group<{count}>({p.use('n')}, before, {thread}, {threads}, update);")
    for node in step.sums:
        lines += p.folded(node, "index")
    return lines
