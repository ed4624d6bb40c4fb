"""A CUDA file to embed: a rule's kernels, and host code that computes the scalars, keeps the
launch tables and launches."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...language.summation import CHUNK, ROW_CHUNK, STRIP_ROWS, TILE
from ..c import C
from ..c_family import function
from ..c_host import (
    API,
    array_type,
    count,
    defaults,
    first_blocks,
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
from ..templates import Words, filled, read
from .about import about
from .c import framed, in_blocks, matrix, words_of_usage

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
    filled_with = dict.fromkeys(array_type(p, name) for p in hosts for name in _nonzero(p))
    fill = "".join(filled(TEXTS["fill"], {"TYPE": kind}) for kind in filled_with)
    host = hosts[0].target.helper_texts(set().union(*(p.called for p in hosts)))
    return framed(
        exported,
        "CUH",
        about(exported, "cuda", _words(hosts)),
        f"{TEXTS['preamble']}\nnamespace {namespace} {{\n{fill}{device}\n{code}\n"
        f"}} /* namespace {namespace} */\n{host}\n{functions}\n#undef GLOBAL\n#undef RESTRICT\n",
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
    numbers = [layout.slot_size(node) for node in layout.slots]
    words: Words = {
        "EXTENT": _extent(host),
        "WIDTH": str(ROW_CHUNK),
        "STRIP_ROWS": str(STRIP_ROWS),
        "TILE": str(TILE),
        "CHUNK_LINES": _chunk_lines(host),
        "TENSOR_LINES": _tensor_lines(host, numbers),
        "START": ["int64_t start = 0; /* in the workspace */"] if layout.reducing else [],
        "KERNELS": _launches(device, namespace),
        "NUMBERS": " + ".join(numbers) or "0",
        "LABEL": host.rule.label,
        "REAL": host.target.real,
        "API": API,
        "SCALARS": str(len(host.program.scalars)),
        "TABLE_COLUMNS": str(layout.table_columns),
        "TENSORS_COLUMNS": str(layout.tensors_columns if layout.reducing else 0),
    }
    return filled("\n".join(parts), words)


def _tensor(p: Printer) -> str:
    """Return the structure of a parameter and what belongs to it."""
    fields = [
        f"{array_type(p, name)} *{p.arrays[name]};"
        for name in (*p.program.arrays, *p.program.small)
    ]
    numbers = [*sizes(p), "row", *["position"] * p.layout.rounds]
    fields.append(f"int64_t {', '.join(numbers)};")
    body = "\n".join(indented(fields))
    about = ""
    if p.layout.rounds:
        about = " `position` is its number, from\n * 0, by which, and the seed, random bits round."
    return (
        "/* A parameter, its gradient and state, in device memory. `row` says which of the rows of\n"
        " * scalars applies; a negative one leaves the parameter as it is."
        f"{about} */\n"
        f"typedef struct {{\n{body}\n}} @LABEL_tensor;\n"
    )


def _nonzero(p: Printer) -> Lines:
    """Return the states that do not start at 0."""
    return [name for name in states(p) if initial_value(p, name) != "0"]


def _init(p: Printer, namespace: str) -> str:
    lines = first_blocks(p)
    for name in states(p):
        place, value = f"tensor->{p.arrays[name]}", initial_value(p, name)
        number = re.sub(r"[a-z]+", r"tensor->\g<0>", count(p, name))
        if value == "0":
            size = f"(size_t)({number}) * sizeof({array_type(p, name)})"
            lines.append(f"SAMESTEP_TRY(cudaMemsetAsync({place}, 0, {size}, stream));")
        else:
            call = f"fill<<<256, {BLOCK}, 0, stream>>>({place}, {number}, {value})"
            lines.append(f"{namespace}::{call};")
    arguments = ["const @LABEL_hyper *h", "const @LABEL_tensor *tensor", "cudaStream_t stream"]
    lines.append("return cudaGetLastError();")
    used = {"tensor", "stream"} | needs_hyper(p)
    about = "/* The state of one tensor before its first step. */\n"
    return about + function(f"{API} cudaError_t @LABEL_init", arguments, lines, used)


def _extent(p: Printer) -> Lines:
    """Return how large a tensor is, and how many lines of the table it has."""
    if p.layout.matrix:
        lines = ["const int64_t size = tensor->size, columns = tensor->columns;"]
        unit, across = (
            f"{p.rule.label}_tile_rows(columns)",
            f"(columns + {ROW_CHUNK - 1}) / {ROW_CHUNK}",
        )
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
    return [*lines, "(void)columns;"]


def _chunk_lines(p: Printer) -> Lines:
    """Return what a chunk's line of the table holds besides row and length."""
    lines = [
        f"line[{column}] = (int64_t)(tensor->{p.arrays[name]} + offset{_by_block(p, name)});"
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
    if p.layout.rounds:
        lines.append(f"line[{p.layout.position}] = tensor->position;")
        if not p.layout.matrix:
            lines.append(f"line[{p.layout.first_element}] = first;")
    return lines


def _by_block(p: Printer, name: str) -> str:
    """Return what makes an offset in elements one in an array of scales."""
    block = p.layout.block.get(name)
    return f" / {block}" if block else ""


def _tensor_lines(p: Printer, numbers: Sequence[str]) -> Lines:
    """Return what a tensor's line of ``tensors`` holds."""
    if not p.layout.reducing:
        return []
    first = ["tensor->row", "size", "columns", "unit" if p.layout.matrix else "chunks"]
    first += [f"(int64_t)tensor->{p.arrays[name]}" for name in p.layout.small]
    lines = [f"of_tensor[{k}] = {value};" for k, value in enumerate(first)]
    for node, number in zip(p.layout.slots, numbers, strict=True):
        lines += [f"of_tensor[{p.layout.slot[id(node)]}] = start;", f"start += {number};"]
    return lines


def _launches(p: Printer, namespace: str) -> Lines:
    arguments = "table, of_rows, coefficients, launch->control"
    lines: Lines = []
    if p.layout.reducing:
        arguments += ", tensors, launch->workspace"
        columns = p.layout.table_columns
        lines.append(f"const int64_t *tensors = table + launch->chunks * {columns};")
    for name, over, divisible in p.functions():
        grid = "(unsigned)launch->count" if over == "tensors" else "chunks"
        grid = f"dim3({grid}, shared)" if divisible else grid
        lines.append(f"{namespace}::{name}<<<{grid}, {BLOCK}, 0, stream>>>({arguments});")
    return lines


def _words(hosts: Sequence[Printer]) -> Words:
    first, *others = hosts
    named = "Tensors of fewer than two axes have functions and launches named"
    init = f"{first.rule.label}_init(&hyper, &tensors[0], stream);  // each of them"
    words: Words = {
        "INIT": [init] if states(first) else [],
        "VECTORS": [f"{named} {host.rule.label}_." for host in others],
        "MATRIX": matrix(first),
        "BLOCKS": in_blocks(first),
    }
    return {**words_of_usage(first), **words}
