"""Prints a rule as CUDA C: a kernel per pass and a kernel per fold.

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
- Grid of a pass: x = lines of ``table``. y = 1, or any number in passes that can be divided (see
  `functions`): the blocks of one chunk then share it. Bits do not depend on it.
- Grid of a fold: x = lines of ``tensors``.
- Launches follow each other in the order of `functions`, on one stream. A tensor may have up to
  ``CHUNK**2`` rows, or chunks where it is not seen as a matrix.
"""

from __future__ import annotations

from ..language.dtypes import numpy_dtype
from ..language.passes import Step
from ..language.summation import LANES
from ..language.tracer import Expr
from .c_family import C_TYPE, NEEDED_BY, CFamilyPrinter, function, indented
from .cuda_helpers import CUDA_HELPERS, HEADER
from .kernel import Lines

# of NVRTC: without the first four it contracts, approximates and flushes. Without the last one,
# releases up to 13.1 take a lambda with `auto` arguments for a host function and refuse to call it
OPTIONS = (
    "--fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false", "--std=c++17",
    "-default-device",
)  # fmt: skip
BLOCK = 256  # threads
WIDEST = 16  # bytes that one load or store moves


class CudaPrinter(CFamilyPrinter):
    """CUDA C: a kernel per pass, a block per chunk of the launch table; a kernel per fold, a
    block per tensor."""

    helpers = CUDA_HELPERS
    needed_by = NEEDED_BY | {"group": tuple(f"each_group<{n}>" for n in (2, 4, 8))}
    function = "static __device__ __forceinline__"
    reserved = CFamilyPrinter.reserved | {
        "coefficients", "control", "group", "before", "before_groups", "each_group", "load",
        "store", "update", "k", "at", "Width", "Group", "BLOCK", "GLOBAL", "gridDim", "blockDim",
    }  # fmt: skip

    def source(self) -> str:
        parts = []
        for kind, k in self.program.launches:
            parts.append(self._pass(k) if kind == "pass" else self._fold(k))
        return self.with_helpers(self.title() + HEADER, "\n".join(parts))

    def functions(self) -> list[tuple[str, str, bool]]:
        """Name of each kernel, "pass" or "fold", and whether several blocks may share a chunk; in
        launch order."""
        return [
            (self._name(kind, k), kind, kind == "pass" and self._divisible(self.program.passes[k]))
            for kind, k in self.program.launches
        ]

    def _name(self, kind: str, k: int) -> str:
        return f"{self.rule.label}_{kind}{k}" if self.layout.reducing else self.entry

    def _divisible(self, step: Step) -> bool:
        """Whether the order of its sums, if it has any, lies within a row."""
        if self.layout.matrix:
            return all(node.per != "column" for node in step.sums)
        return not step.sums

    # ---- syntax

    def loop(
        self, variable: str, count: str, body: Lines, *, step: int = 1, spread: bool = False
    ) -> Lines:
        if not spread:
            return super().loop(variable, count, body, step=step)
        head = (
            f"for (int64_t {variable} = threadIdx.x; {variable} < {count}; "
            f"{variable} += blockDim.x) {{"
        )
        return [head, *indented(body), "}"]

    def once(self, line: str) -> str:
        return f"if (threadIdx.x == 0) {line}"

    def over(self, per: str, *lines: str) -> Lines:
        # what one thread writes for the whole tensor, others may still be reading
        before = ["__syncthreads();"] if per == "tensor" else []
        return [*before, *super().over(per, *lines), "__syncthreads();"]

    def scalar(self, name: str) -> tuple[str, Lines]:
        if name == "grad_coefficient":
            product = "coefficients[row] * control[0]"
            value = product if self.real == "double" else f"({self.real})({product})"
            return name, [f"const {self.real} {name} = {value};"]
        local, names = self.new_name(name), self.program.scalars
        place = f"rows[row * {len(names)} + {names.index(name)}]"
        return local, [f"const {self.real} {local} = {place};"]

    def zero_lanes(self, name: str, lanes: int) -> Lines:
        self.shared.append(f"alignas({WIDEST}) __shared__ {self.real} {name}[{lanes}];")
        return self.loop("lane", "width", [self.assign(f"{name}[lane]", "0")], spread=True)

    # ---- loops

    def element(self, array: str) -> str:
        return super().element(array) if self.layout.matrix else f"{self.groups[array]}.at[k]"

    def rows(self, step: Step, body: Lines) -> Lines:
        if not self._divisible(step):
            return super().rows(step, body)
        head = "for (int64_t r = blockIdx.y; r < height; r += gridDim.y) {"
        return [head, *indented(body), "}"]

    def _flat_loops(self, step: Step, element: Lines) -> Lines:
        """The elements in groups of neighbours. Lanes are kept rotated by what stands before the
        first group, so that those of a group are neighbours, too: a fold by halves adds the same
        pairs. A thread has the same lanes in all rounds, since a round of the block is 1, 2 or
        4 halves, quarters or eighths of the lanes."""
        used = [a for a in self.program.arrays if a in step.loads or a in dict(step.stores)]
        count = WIDEST // min(numpy_dtype(self.stored[a]).itemsize for a in used)
        if step.sums:  # lanes take registers, too: with 8 neighbours sm_90 spills
            count = min(count, 4)
        pointers = ", ".join(self.arrays[array] for array in used)
        lines = [f"const int before = before_groups<{count}>({pointers});"]
        get, put = [], []
        for array in used:
            name, pointer = self.groups[array], f"{self.arrays[array]} + first"
            kind = C_TYPE[self.stored[array]]
            get.append(
                f"Group<{kind}, group.n> {name} = load<group.n>({pointer});"
                if array in step.loads
                else f"Group<{kind}, group.n> {name};"
            )
            if array in dict(step.stores):
                put.append(f"store({pointer}, {name});")
        if step.sums:
            lines.append(self._width("n", LANES))
            get.insert(0, "const int64_t lane = (first - before) & (width - 1);")
        for node in step.sums:
            lanes = self._lanes(node)
            name = self.new_name(f"{lanes.removesuffix('_lanes')}_group")
            lines += self.zero_lanes(lanes, LANES)
            get.append(f"Group<{self.real}, group.n> {name} = load<group.n>({lanes} + lane);")
            total = f"{name}.at[k] + {self.text(node.args[0], 3)}"
            element = [*element, self.assign(f"{name}.at[k]", total)]
            put.append(f"store({lanes} + lane, {name});")
        if step.sums:
            lines.append("__syncthreads();")
        each = ['_Pragma("unroll")', "for (int k = 0; k < group.n; k++) {", *indented(element), "}"]
        lines += [
            "const auto update = [&](auto group, int64_t first) {",
            *indented([*get, *each, *put]),
            "};",
        ]
        thread, threads = "threadIdx.x", "blockDim.x"
        if self._divisible(step):
            thread, threads = "blockIdx.y * blockDim.x + threadIdx.x", "gridDim.y * blockDim.x"
        lines.append(f"each_group<{count}>(n, before, {thread}, {threads}, update);")
        for node in step.sums:
            lines += self._folded(node, "index")
        return lines

    # ---- kernels

    def _kernel(self, name: str, lines: Lines, bounds: str = f"{BLOCK}") -> str:
        arguments = [
            "const int64_t *__restrict__ table",
            f"const {self.real} *__restrict__ rows",
            "const double *__restrict__ coefficients",
            "const double *__restrict__ control",
        ]
        if self.layout.reducing:
            arguments += ["const int64_t *__restrict__ tensors", f"{self.real} *workspace"]
        head = f'extern "C" __global__ void __launch_bounds__({bounds}) {name}'
        return function(head, arguments, lines)

    def _pass(self, k: int) -> str:
        step, layout = self.program.passes[k], self.layout
        self.begin()
        self.shared: Lines = []
        self.groups = {array: self.new_name(f"{array}_group") for array in self.program.arrays}
        length = "height" if layout.matrix else "n"
        lines = [
            f"const int64_t *chunk = table + (int64_t)blockIdx.x * {layout.table_columns};",
            "const int64_t row = chunk[0];",
            f"const int64_t {length} = chunk[1];",
            "if (row < 0 || control[1] != 0) return;",
        ]
        if layout.reducing:
            lines += [
                f"const int64_t *tensor = tensors + chunk[{layout.tensor}] * {layout.tensors_columns};",
                f"const int64_t index = chunk[{layout.index}];",
                "const int64_t size = tensor[1];",
                "const int64_t columns = tensor[2];",
            ]
        for array in self.program.arrays:
            if array in step.loads or array in dict(step.stores):
                lines.append(self._view(array, f"chunk[{layout.array[array]}]"))
        lines += self._slots([*step.sums, *step.received])
        lines += self.pass_body(step)
        # Where there are sums, left alone, ptxas aims at four blocks a multiprocessor and spills on
        # sm_80. Three that load 16 bytes at a time keep enough under way.
        bounds = f"{BLOCK}, 2" if step.sums else f"{BLOCK}"
        return self._kernel(self._name("pass", k), [*self.shared, *lines], bounds)

    def _fold(self, k: int) -> str:
        step, layout = self.program.folds[k], self.layout
        self.begin()
        lines = [
            f"const int64_t *tensor = tensors + (int64_t)blockIdx.x * {layout.tensors_columns};",
            "const int64_t row = tensor[0];",
            "const int64_t size = tensor[1];",
            "const int64_t columns = tensor[2];",
            "const int64_t chunks = tensor[3];",
            "if (row < 0 || control[1] != 0) return;",
        ]
        lines += [
            self._view(array, f"tensor[{layout.small[array]}]")
            for array in self.program.small
            if array in step.loads or array in dict(step.stores)
        ]
        used = {id(n) for n in (*step.nodes, *step.finished)}
        lines += self._slots([n for n in layout.slots if id(n) in used])
        lines += self.fold_body(step)
        return self._kernel(self._name("fold", k), lines)

    def _view(self, array: str, address: str) -> str:
        const = "const " if array == "grad" else ""
        kind = f"{const}{C_TYPE[self.stored.get(array, self.compute)]}"
        return f"{kind} *{self.arrays[array]} = GLOBAL({kind}, {address});"

    def _slots(self, nodes: list[Expr]) -> Lines:
        return [
            self.let(self.slot_name[id(n)], f"tensor[{self.layout.slot[id(n)]}]", index=True)
            for n in nodes
        ]
