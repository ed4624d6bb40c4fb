"""A CUDA file to embed: a rule's kernels, and host code that computes the scalars, keeps the
launch tables and launches."""

from __future__ import annotations

from collections.abc import Sequence

from ...language.summation import CHUNK, ROW_CHUNK, STRIP_ROWS, TILE
from ..c import C
from ..c_family import comment, function
from ..c_host import (
    API,
    array_type,
    count,
    defaults,
    initial_carry,
    initial_value,
    needs_hyper,
    scalars_function,
    sizes,
    states,
    structures,
)
from ..cuda import BLOCK, Cuda, kernels
from ..exported import Exported
from ..printer import Printer
from ..target import Lines, indented
from ..templates import read
from .c import MATRIX, beginning_of_usage, scalars_in_usage, verification

TEXTS = read("cuda_host.cu")


def text(exported: Exported) -> str:
    """Return the text of the file."""
    namespace = f"samestep_{exported.label}"
    devices = exported.printers(Cuda)
    hosts = exported.printers(C, f"{exported.label}_")
    code = "\n".join(kernels(device) for device in devices)
    device = devices[0].target.helper_texts(set().union(*(p.called for p in devices)))
    functions = "\n".join(
        _host_functions(host, device, namespace)
        for host, device in zip(hosts, devices, strict=True)
    )
    fill = ""
    if any(_starts_nonzero(host) for host in hosts):
        fill = TEXTS["fill"].replace("REAL", hosts[0].target.real)
    host = hosts[0].target.helper_texts(set().union(*(p.called for p in hosts)))
    guard = f"SAMESTEP_{exported.label.upper()}_CUH"
    check = f"\n{exported.check}" if exported.check else ""
    return (
        f"{comment(_about(hosts, exported))}#ifndef {guard}\n#define {guard}\n\n"
        f"{TEXTS['preamble']}\nnamespace {namespace} {{\n{fill}{device}\n{code}\n"
        f"}} /* namespace {namespace} */\n{host}\n{functions}\n#undef GLOBAL\n"
        f"#endif /* {guard} */\n{check}"
    )


def _host_functions(host: Printer, device: Printer, namespace: str) -> str:
    """Return the host code of one variant, whose kernels are in ``namespace``."""
    parts = [structures(host), defaults(host)]
    parts += [initial_carry(host)] if host.rule.carry else []
    parts += [scalars_function(host), _tensor(host), TEXTS["launch"]]
    parts += [_init(host, namespace)] if states(host) else []
    layout = host.layout
    parts += [TEXTS["tile"]] if layout.matrix else []
    parts += [TEXTS[name] for name in ("tables", "create", "step", "destroy")]
    text, numbers = "\n".join(parts), [layout.slot_size(node) for node in layout.slots]
    meanings = {
        "@EXTENT": _extent(host),
        "@WIDTH": str(ROW_CHUNK),
        "@STRIP_ROWS": str(STRIP_ROWS),
        "@TILE": str(TILE),
        "@CHUNK_LINES": _chunk_lines(host),
        "@TENSOR_LINES": _tensor_lines(host, numbers),
        "@START": "    int64_t start = 0; /* in the workspace */\n" if layout.reducing else "",
        "@KERNELS": _launches(device, namespace),
        "@NUMBERS": " + ".join(numbers) or "0",
        "@LABEL": host.rule.label,
        "@REAL": host.target.real,
        "@API": API,
        "@SCALARS": str(len(host.program.scalars)),
        "@TABLE_COLUMNS": str(layout.table_columns),
        "@TENSORS_COLUMNS": str(layout.tensors_columns if layout.reducing else 0),
    }
    for word, meaning in meanings.items():
        text = text.replace(word, meaning)
    return text


def _tensor(p: Printer) -> str:
    """Return the structure of a parameter and what belongs to it."""
    fields = [
        f"{array_type(p, name)} *{p.arrays[name]};"
        for name in (*p.program.arrays, *p.program.small)
    ]
    fields.append(f"int64_t {', '.join([*sizes(p), 'row'])};")
    body = "\n".join(indented(fields))
    return (
        "/* A parameter, its gradient and state, in device memory. `row` says which of the rows of\n"
        " * scalars applies; a negative one leaves the parameter as it is. */\n"
        f"typedef struct {{\n{body}\n}} @LABEL_tensor;\n"
    )


def _starts_nonzero(p: Printer) -> bool:
    return any(initial_value(p, name) != "0" for name in states(p))


def _init(p: Printer, namespace: str) -> str:
    lines: Lines = []
    for name in states(p):
        place, value = f"tensor->{p.arrays[name]}", initial_value(p, name)
        factors = count(p, name).split(" * ")
        number = " * ".join(f if f == "1" else f"tensor->{f}" for f in factors)
        if value == "0":
            size = f"(size_t)({number}) * sizeof({p.target.real})"
            lines.append(f"SAMESTEP_TRY(cudaMemsetAsync({place}, 0, {size}, stream));")
        else:
            call = f"fill<<<256, {BLOCK}, 0, stream>>>({place}, {number}, {value})"
            lines.append(f"{namespace}::{call};")
    arguments = ["const @LABEL_hyper *h", "const @LABEL_tensor *tensor", "cudaStream_t stream"]
    lines.append("return cudaGetLastError();")
    used = {"tensor", "stream"} | needs_hyper(p)
    about = "/* The state of one tensor before its first step. */\n"
    return about + function(f"{API} cudaError_t @LABEL_init", arguments, lines, used)


def _extent(p: Printer) -> str:
    """Return how large a tensor is, and how many lines of the table it has."""
    if p.layout.matrix:
        lines = ["const int64_t size = tensor->size, columns = tensor->columns;"]
        unit, across = "@LABEL_tile_rows(columns)", f"(columns + {ROW_CHUNK - 1}) / {ROW_CHUNK}"
    else:
        lines = [f"const int64_t size = tensor->{sizes(p)[0]}, columns = 1;"]
        unit, across = str(CHUNK), "1"
    lines += [
        f"const int64_t unit = {unit}, across = {across};",
        "const int64_t lines = (size + unit - 1) / unit * across;",
    ]
    if p.layout.reducing:
        numbers = [f"{name} = ({of} + {n - 1}) / {n}" for name, of, n in p.layout.numbers]
        lines += [f"const int64_t {', '.join(numbers)};"]
        lines += [f"(void){name};" for name, _, _ in p.layout.numbers]
    lines.append("(void)columns;")
    return "".join(f"        {line}\n" for line in lines)


def _chunk_lines(p: Printer) -> str:
    """Return what a chunk's line of the table holds besides row and length."""
    lines = [
        f"line[{column}] = (int64_t)(tensor->{p.arrays[name]} + offset);"
        for name, column in p.layout.array.items()
    ]
    if p.layout.reducing:
        lines.append(f"line[{p.layout.tensor}] = t;")
    if p.layout.matrix:
        lines += [
            f"line[{p.layout.first_row}] = first;",
            f"line[{p.layout.first_column}] = column;",
        ]
    elif p.layout.reducing:
        lines.append(f"line[{p.layout.index}] = index;")
    return "".join(f"            {line}\n" for line in lines)


def _tensor_lines(p: Printer, numbers: Sequence[str]) -> str:
    """Return what a tensor's line of ``tensors`` holds."""
    if not p.layout.reducing:
        return ""
    first = ["tensor->row", "size", "columns", "unit" if p.layout.matrix else "chunks"]
    first += [f"(int64_t)tensor->{p.arrays[name]}" for name in p.layout.small]
    lines = [f"of_tensor[{k}] = {value};" for k, value in enumerate(first)]
    for node, number in zip(p.layout.slots, numbers, strict=True):
        lines += [f"of_tensor[{p.layout.slot[id(node)]}] = start;", f"start += {number};"]
    return "".join(f"        {line}\n" for line in lines)


def _launches(p: Printer, namespace: str) -> str:
    arguments = "table, of_rows, coefficients, launch->control"
    lines = []
    if p.layout.reducing:
        arguments += ", tensors, launch->workspace"
        columns = p.layout.table_columns
        lines.append(f"const int64_t *tensors = table + launch->chunks * {columns};")
    for name, over, divisible in p.functions():
        grid = "(unsigned)launch->count" if over == "tensors" else "chunks"
        grid = f"dim3({grid}, shared)" if divisible else grid
        lines.append(f"{namespace}::{name}<<<{grid}, {BLOCK}, 0, stream>>>({arguments});")
    return "".join(f"    {line}\n" for line in lines)


def _usage(p: Printer) -> str:
    label = p.rule.label
    lines = [
        *beginning_of_usage(p),
        f"{label}_tensor tensors[] = {{...}};  // pointers to device memory, sizes, row 0",
    ]
    if states(p):
        lines.append(f"{label}_init(&hyper, &tensors[0], stream);  // each of them")
    lines += [
        f"{label}_launch launch;",
        f"{label}_create(&launch, tensors, count, 1, stream);",
        *scalars_in_usage(p),
        f"    {label}_step(&launch, &s, stream);",
        "}",
        f"{label}_destroy(&launch);",
    ]
    return "\n".join(indented(lines))


def _about(hosts: Sequence[Printer], exported: Exported) -> Lines:
    first, label = hosts[0], exported.label
    flags = "-std=c++17 -O3 -fmad=false -Xcompiler -ffp-contract=off"
    about = [
        f"{label}: updates {exported.dtype} parameters with {exported.grad_dtype} gradients, "
        "in CUDA C++17: all tensors of all groups in one launch a pass.",
        exported.reference,
        "Include it in a .cu file. Every function that can fail returns a cudaError_t:\n\n"
        f"{_usage(first)}",
    ]
    about += [
        f"Tensors of fewer than two axes have functions and launches named {host.rule.label}_."
        for host in hosts[1:]
    ]
    about += [MATRIX] if first.layout.matrix else []
    about += [
        "Each group of tensors that have the same hyperparameters and have taken the same steps has a "
        "row of scalars. s.grad_coefficient multiplies each gradient: 1, or -1 to maximize, 1 / "
        "scale of a scaled loss. launch.control points to two doubles in device memory that a "
        "kernel may write: another factor, such as that of clipping by a global norm, and whether "
        "to leave the step out.",
        f"{label}_create allocates, {label}_step does not: it copies rows from pinned "
        "memory asynchronously and launches on the stream.",
        f"Compile with nvcc {flags}, without -use_fast_math; the bits are then those of the CPU.",
    ]
    build = [f"nvcc {flags} {label}.cu -o check", f"./check {exported.golden_file}"]
    return about + verification(exported, "GPU", "cu", ", 2 that it could not run", build)
