"""A CUDA file to embed: a rule's kernels, and host code that computes the scalars, keeps the
launch tables and launches."""

from __future__ import annotations

from collections.abc import Sequence

from ...language.passes import Program
from ...language.summation import CHUNK, STRIP_ROWS
from ..c import API
from ..c_family import C_TYPE, function
from ..cuda import BLOCK, CudaPrinter
from ..export import Exported
from ..kernel import Lines
from .c import ExportedC, with_names_of_its_own
from .cuda_text import CREATE, DESTROY, FILL, LAUNCH, PREAMBLE, STEP, TABLES
from .words import comment


class Kernels(CudaPrinter):
    """The device code of one variant."""

    def kernels(self) -> str:
        return "\n".join(
            self._pass(k) if kind == "pass" else self._fold(k) for kind, k in self.program.launches
        )


class Host(ExportedC):
    """The host code of one variant; ``namespace`` is where its kernels are."""

    def __init__(self, program: Program, dtype: str, grad_dtype: str, namespace: str) -> None:
        super().__init__(program, dtype, grad_dtype)
        self.namespace, self.label = namespace, self.rule.label
        self.device = Kernels(program, dtype, grad_dtype)

    def functions(self) -> str:
        parts = [self._structs(), self._defaults()]
        parts += [self._initial_carry()] * bool(self.rule.carry)
        parts += [self._scalars_function(), self._tensor(), LAUNCH]
        parts += [self._fill_states()] * bool(self.states)
        parts += [TABLES, CREATE, STEP, DESTROY]
        return self._filled("\n".join(parts))

    def _tensor(self) -> str:
        """The structure of a parameter and what belongs to it."""
        fields = [
            f"    {'const ' if name == 'grad' else ''}"
            f"{C_TYPE[self.stored.get(name, self.compute)]} *{self.arrays[name]};\n"
            for name in (*self.program.arrays, *self.program.small)
        ]
        about = (
            "/* A parameter, its gradient and state, in device memory. `row` says which of the rows of\n"
            " * scalars applies; a negative one leaves the parameter as it is. */\n"
        )
        sizes = ", ".join([*self._sizes(), "row"])
        return (
            f"{about}typedef struct {{\n{''.join(fields)}    int64_t {sizes};\n}} @LABEL_tensor;\n"
        )

    def _fill_states(self) -> str:
        lines: Lines = []
        for name in self.states:
            place = f"tensor->{self.arrays[name]}"
            count = " * ".join(
                factor if factor == "1" else f"tensor->{factor}"
                for factor in self.counts(name).split(" * ")
            )
            value = self._initial(name)
            if value == "0":
                size = f"(size_t)({count}) * sizeof({self.real})"
                lines.append(f"SAMESTEP_TRY(cudaMemsetAsync({place}, 0, {size}, stream));")
            else:
                call = f"fill<<<256, {BLOCK}, 0, stream>>>({place}, {count}, {value})"
                lines.append(f"{self.namespace}::{call};")
        arguments = ["const @LABEL_hyper *h", "const @LABEL_tensor *tensor", "cudaStream_t stream"]
        about = "/* The state of one tensor before its first step. */\n"
        head = f"{API} cudaError_t @LABEL_init"
        return about + function(head, arguments, [*lines, "return cudaGetLastError();"])

    def _filled(self, text: str) -> str:
        layout, matrix = self.layout, self.layout.matrix
        sizes = [layout.slot_size(node, "size", "columns", "chunks") for node in layout.slots]
        chosen = {
            "@CHUNK_LINES": self._chunk_lines(),
            "@TENSOR_LINES": self._tensor_lines(sizes),
            "@START": "    int64_t start = 0; /* in the workspace */\n" if layout.reducing else "",
            "@KERNELS": self._launches(),
            "@NUMBERS": " + ".join(sizes) or "0",
            "@LABEL": self.label,
            "@REAL": self.real,
            "@API": API,
            "@SCALARS": str(len(self.program.scalars)),
            "@TABLE_COLUMNS": str(layout.table_columns),
            "@TENSORS_COLUMNS": str(layout.tensors_columns if layout.reducing else 0),
            "@UNIT": str(STRIP_ROWS if matrix else CHUNK),
            "@SIZE": f"tensor->{self._sizes()[0]}",
            "@COLUMNS": "tensor->columns" if matrix else "1",
        }
        for name, value in chosen.items():
            text = text.replace(name, value)
        return text

    def _chunk_lines(self) -> str:
        """What a chunk's line of the table holds besides row and length."""
        lines = [
            f"line[{column}] = (int64_t)(tensor->{self.arrays[name]} + offset);"
            for name, column in self.layout.array.items()
        ]
        if self.layout.reducing:
            lines += [f"line[{self.layout.tensor}] = t;", f"line[{self.layout.index}] = index;"]
        return "".join(f"            {line}\n" for line in lines)

    def _tensor_lines(self, sizes: Sequence[str]) -> str:
        if not self.layout.reducing:
            return ""
        lines = [
            f"of_tensor[{k}] = {value};"
            for k, value in enumerate(("tensor->row", "size", "columns", "chunks"))
        ]
        lines += [
            f"of_tensor[{column}] = (int64_t)tensor->{self.arrays[name]};"
            for name, column in self.layout.small.items()
        ]
        for node, size in zip(self.layout.slots, sizes, strict=True):
            lines.append(f"of_tensor[{self.layout.slot[id(node)]}] = start;")
            lines.append(f"start += {size};")
        return "".join(f"        {line}\n" for line in lines)

    def _launches(self) -> str:
        arguments = "table, of_rows, coefficients, launch->control"
        lines = []
        if self.layout.reducing:
            arguments += ", tensors, launch->workspace"
            columns = self.layout.table_columns
            lines.append(f"const int64_t *tensors = table + launch->chunks * {columns};")
        for name, kind, divisible in self.device.functions():
            grid = "(unsigned)launch->count" if kind == "fold" else "chunks"
            grid = f"dim3({grid}, shared)" if divisible else grid
            lines.append(f"{self.namespace}::{name}<<<{grid}, {BLOCK}, 0, stream>>>({arguments});")
        return "".join(f"    {line}\n" for line in lines)

    def usage(self) -> Lines:
        label = self.label
        lines = [f"{label}_hyper hyper = {label}_defaults();"]
        if self.rule.carry:
            lines.append(f"{label}_carry carry = {label}_initial_carry();")
        lines.append(
            f"{label}_tensor tensors[] = {{...}};  // pointers to device memory, sizes, row 0"
        )
        if self.states:
            lines.append(f"{label}_init(&hyper, &tensors[0], stream);  // each of them")
        carry = "&carry, " if self.rule.carry else ""
        return [
            *lines,
            f"{label}_launch launch;",
            f"{label}_create(&launch, tensors, count, 1, stream);",
            "for (int step = 1; step <= steps; step++) {",
            f"    {label}_scalars s = {label}_compute_scalars(step, {carry}&hyper);",
            f"    {label}_step(&launch, &s, stream);",
            "}",
            f"{label}_destroy(&launch);",
        ]


def text(exported: Exported) -> str:
    """The text of the file."""
    label = exported.rules[0].label
    namespace = f"samestep_{label}"
    hosts = [Host(p, exported.dtype, exported.grad_dtype, namespace) for p in exported.programs]
    first = hosts[0]
    kernels = "\n".join(host.device.kernels() for host in hosts)
    functions = "\n".join(host.functions() for host in hosts)
    fill = FILL.replace("REAL", first.real) if "::fill<<<" in functions else ""
    device = first.device.with_helpers("", kernels)
    body = first.with_helpers("", functions)
    body = with_names_of_its_own(body, first.helper_names(functions), label)
    guard = f"SAMESTEP_{label.upper()}_CUH"
    code = (
        f"#ifndef {guard}\n#define {guard}\n\n{PREAMBLE}\nnamespace {namespace} {{\n{fill}{device}"
        f"\n}} /* namespace {namespace} */\n{body}\n#undef GLOBAL\n#endif /* {guard} */\n"
    )
    check = f"\n{exported.check}" if exported.check else ""
    return comment(_about(hosts, exported)) + code + check


def _about(hosts: Sequence[Host], exported: Exported) -> Lines:
    first = hosts[0]
    program = "\n".join(f"    {line}" for line in first.usage())
    about = [
        f"{first.label}: updates {exported.dtype} parameters with {exported.grad_dtype} gradients, "
        "in CUDA C++17: all tensors of all groups in one launch a pass.",
        first.rule.reference or "A rule of the user's own.",
        f"Include it in a .cu file. Every function that can fail returns a cudaError_t:\n\n{program}",
    ]
    about += [
        f"Tensors of fewer than two axes have functions and launches named {host.label}_."
        for host in hosts[1:]
    ]
    if first.layout.matrix:
        about.append(
            "A tensor is seen as a matrix in C order: size rows, its first axis, by columns, all "
            "others together."
        )
    flags = "-std=c++17 -O3 -fmad=false -Xcompiler -ffp-contract=off"
    about += [
        "Each group of tensors that have the same hyperparameters and have taken the same steps has a "
        "row of scalars. s.grad_coefficient multiplies each gradient: 1, or -1 to maximize, 1 / "
        "scale of a scaled loss. launch.control points to two doubles in device memory that a "
        "kernel may write: another factor, such as that of clipping by a global norm, and whether "
        "to leave the step out.",
        f"{first.label}_create allocates, {first.label}_step does not: it copies rows from pinned "
        "memory asynchronously and launches on the stream.",
        f"Compile with nvcc {flags}, without -use_fast_math; the bits are then those of the CPU.",
    ]
    if exported.check:
        about.append(
            "As it is, this is a program that replays a golden file (golden/README.md of samestep) "
            "and compares every bit; status 1 means a difference, 2 that it could not run:\n\n"
            f"    nvcc {flags} {first.label}.cu -o check\n"
            f"    ./check {exported.golden_file}"
        )
    else:
        about.append(
            "To verify it on your GPU, write it with a main program that replays a golden "
            f"file:\n\n    {exported.command} --with-check -o {first.label}.cu"
        )
    about.append(f"Printed by samestep {exported.version} from the rule's own text; do not edit.")
    return about
