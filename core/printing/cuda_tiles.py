"""Printed CUDA: the loops of a block over one tile of a matrix.

A thread has its lane of every row it looks at, so up to four columns. As many threads as there are
lanes make a group; a group has rows of its own, whole strips where columns are summed, whose sums a
thread keeps in registers down the strip. Sums along rows are folded for several rows at once. Where
there are maxima a thread has one column of a row at a time, and where four arrays are loaded two,
and what it keeps down the strip in shared memory: with four columns ptxas spills on sm_100.
"""

from __future__ import annotations

from ..language.passes import Step
from ..language.summation import ROW_CHUNK, ROW_LANES, STRIP_ROWS
from ..language.tracer import Expr
from .c_family import C_TYPE
from .folds import of_lines
from .printer import Printer
from .target import Lines, indented

BLOCK = ROW_LANES  # threads
ALL_COLUMNS = ROW_CHUNK // ROW_LANES  # of a thread in a row
SHARED = 6_144  # numbers in the memory that the threads of a block share, if they are doubles
UNROLL = '_Pragma("unroll")'
NAMES = {  # of variables
    "lanes", "group", "groups", "part", "j", "k", "at", "inside", "update", "wide", "share", "tiles",
    "end", "before", "left",
}  # fmt: skip


def tile_loops(p: Printer, step: Step, per_row: Lines, element: Lines) -> Lines:
    """Return the loops over a tile: ``per_row`` for each row ``r``, ``element`` for each column."""
    real = p.target.real
    by_row = [node for node in step.sums if node.per == "row"]
    by_row.sort(key=lambda node: node.op == "largest")  # sums are folded first
    by_column = [node for node in step.sums if node.per == "column"]
    together = rows_together(len(by_row))
    unit = STRIP_ROWS if by_column else together
    p.called.add("width")
    p.use("height tile_width columns")
    places = {id(n): p.new_name(f"{p.wanted(n)}_lane") for n in by_row}
    columns = {id(n): p.new_name(f"{p.wanted(n)}_columns") for n in by_column}
    for node in by_row:
        element = [*element, f"if (inside) {p.add(places[id(node)], node)}"]
    for node in by_column:
        element = [*element, p.add(f"{columns[id(node)]}[{_kept(step)}]", node)]
    of_row = [*per_row, *_row(p, step, element)]
    rows = [
        f"const int r = first + group * {unit} + {'part + ' * bool(by_column)}j;",
        *(f"{real} {places[id(node)]} = 0;" for node in by_row),
        "if (r < height && lane < tile_width) {",
        *indented(of_row),
        "}",
    ]
    shared = p.new_name("row_lanes")
    if by_row:
        p.lanes[shared] = len(by_row) * together * ROW_LANES
    for k, node in enumerate(by_row):
        place = f"(({k} * groups + group) * {together} + j) * lanes + lane"
        rows.append(
            f"{shared}[{place.replace('0 * groups + group', 'group')}] = {places[id(node)]};"
        )
    part = ['_Pragma("unroll 1")', f"for (int j = 0; j < {together}; j++) {{", *indented(rows), "}"]
    part += _folded_rows(p, by_row, shared, together, unit)
    if by_column:
        each = f"part < {STRIP_ROWS} && first + part < height; part += {together}"
        part = [f"for (int part = 0; {each}) {{", *indented(part), "}"]
        part = [*_zero_columns(p, step, columns), *part]
        part += _stored_columns(p, by_column, columns, _kept(step))
        bounds = "int first = 0; first < height; first += groups * "
    else:
        p.use("blockIdx")
        bounds = (
            f"int first = (int)blockIdx.y * groups * {unit}; first < height; "
            "first += (int)gridDim.y * groups * "
        )
    lines = [
        *p.tile_lines(by_row, "first_column"),
        *_column_lines(p, by_column),
        f"const int lanes = (int){p.helper('lanes_for', 'tile_width', str(ROW_LANES))};",
        "const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;",
        "const auto update = [&](auto wide) {",
        *indented([f"for ({bounds}{unit}) {{", *indented(part), "}"]),
        "};",
        f"if (tile_width > {ROW_LANES}) update(Width<{ALL_COLUMNS}>());",
        "else update(Width<1>());",
    ]
    for node in by_column:
        start = p.target.behind(p.line_name[id(node)])
        strips = f"(height + {STRIP_ROWS - 1}){p.target.quotient}{STRIP_ROWS}"
        lines.append(f"{p.helper(of_lines(node), start, strips, 'columns', 'tile_width')};")
    return lines


def rows_together(sums: int) -> int:
    """Return how many rows of a group are folded together: eight, or as many as have room."""
    return next((n for n in (8, 4, 2) if sums * n * ROW_LANES <= SHARED), 1)


def _row(p: Printer, step: Step, element: Lines) -> Lines:
    """Return what is done with a row. A thread loads all it needs of it before it stores anything;
    where it has a column less than others, it loads its first one again."""
    stored = dict(step.stores)
    some = columns_at_once(step)
    declared, loads, stores = [], [], []
    for array in (name for name in p.touched(step) if name not in p.rule.scales):
        place, there = p.placed[array], f"{p.arrays[array]}[at + column]"
        kind, several = C_TYPE[p.stored[array]], "[wide.n]" if some == ALL_COLUMNS else ""
        if array in p.codes_of_block:
            kind, there = "int8_t", p.code_of(array, f"{p.use('tile_start')} + at + column")
        declared.append(f"{kind} {place.removesuffix('[k]')}{several};")
        loads += [f"{place} = {there};"] if array in step.loads else []
        stores += [f"{there} = {place};"] if array in stored else []
    inside = f"lane + {ROW_LANES} * k < tile_width"
    column = f"const int column = inside ? lane + {ROW_LANES} * k : lane;"
    within = [f"const bool inside = {inside};", column]
    loop = [UNROLL, "for (int k = 0; k < wide.n; k++) {"]
    stores = [f"if (inside) {store}" for store in stores]
    lines = ["const int64_t at = r * columns;"]
    if some < ALL_COLUMNS:
        loop[0] = f'_Pragma("unroll {some}")'
        return [*lines, *loop, *indented([*within, *declared, *loads, *element, *stores]), "}"]
    lines += [*declared, *loop, *indented([*within, *loads]), "}"]
    adds_rows = any(node.per == "row" for node in step.sums)
    needed = within if "column" in p.used else within[:adds_rows]
    lines += [*loop, *indented([*needed, *element]), "}"]
    if stores:
        lines += [*loop, *indented([*within, *stores]), "}"]
    return lines


def _folded_rows(p: Printer, nodes: list[Expr], lanes: str, together: int, unit: int) -> Lines:
    """Return statements that fold the lanes of several rows and store the rows' sums."""
    if not nodes:
        return []
    count = f"{together}u * groups"
    others = [f"({k} * {count} + j)" for k in range(1, len(nodes))]
    part = "part + " if unit > together else ""
    p.use("workspace")
    stores = [
        f"workspace[{p.line_name[id(node)]} + r] = {lanes}[{place} * lanes];"
        for node, place in zip(nodes, ["j", *others], strict=False)
    ]
    row = f"const int r = first + j / {together} * {unit} + {part}j % {together};"
    if unit == together:
        row = "const int r = first + j;"
    sums = [node for node in nodes if node.op == "sum"]
    folds = []
    if sums:
        folds.append(p.helper("fold_each", lanes, f"{len(sums) * together} * groups", "lanes"))
    if maxima := len(nodes) - len(sums):
        behind = f"{lanes} + {len(sums) * together} * groups * lanes" if sums else lanes
        folds.append(p.helper("largest_each", behind, f"{maxima * together} * groups", "lanes"))
    return [
        *(f"{fold};" for fold in folds),
        f"for (unsigned j = threadIdx.x; j < {count}; j += blockDim.x) {{",
        *indented([row, "if (r < height) {", *indented(stores), "}"]),
        "}",
        "__syncthreads();",
    ]


def _column_lines(p: Printer, nodes: list[Expr]) -> Lines:
    """Return where in the workspace the lines begin for the strips of a tile."""
    lines = []
    for node in nodes:
        slot = p.use(f"{p.slot_name[id(node)]} first_row first_column").split()[0]
        value = f"{slot} + first_row{p.target.quotient}{STRIP_ROWS} * columns + first_column"
        lines.append(p.target.let(p.line_name[id(node)], value, index=True))
    return lines


def has_maxima(step: Step) -> bool:
    """Return true if a pass has maxima along rows or down columns."""
    return any(node.op == "largest" for node in step.sums)


def columns_at_once(step: Step) -> int:
    """Return of how many columns of a row a thread has the elements at a time."""
    return 1 if has_maxima(step) else 2 if len(step.loads) > 3 else ALL_COLUMNS


def _kept(step: Step) -> str:
    """Return the place of a thread's ``k``-th number in what is kept down a strip."""
    return "k" if columns_at_once(step) == ALL_COLUMNS else f"k * {BLOCK} + threadIdx.x"


def _zero_columns(p: Printer, step: Step, columns: dict[int, str]) -> Lines:
    """Return the statements that begin a strip's sums and maxima down columns."""
    if columns_at_once(step) == ALL_COLUMNS:
        return [f"{p.target.real} {name}[wide.n] = {{}};" for name in columns.values()]
    p.lanes |= dict.fromkeys(columns.values(), ALL_COLUMNS * BLOCK)
    zeros = [f"{name}[{_kept(step)}] = 0;" for name in columns.values()]
    return ["for (int k = 0; k < wide.n; k++) {", *indented(zeros), "}"]


def _stored_columns(p: Printer, nodes: list[Expr], columns: dict[int, str], kept: str) -> Lines:
    """Return statements that store a strip's sums down columns."""
    p.use("workspace")
    at = f"(first / {STRIP_ROWS}u + group) * columns + lane + {ROW_LANES} * k"
    stores = [f"workspace[{p.line_name[id(n)]} + at] = {columns[id(n)]}[{kept}];" for n in nodes]
    return [
        f"if (first + group * {STRIP_ROWS} < height) {{",
        *indented(
            [
                UNROLL,
                "for (int k = 0; k < wide.n; k++) {",
                *indented([f"if (lane + {ROW_LANES} * k < tile_width) {{"]),
                *indented(indented([f"const int64_t at = {at};", *stores])),
                *indented(["}"]),
                "}",
            ]
        ),
        "}",
    ]
