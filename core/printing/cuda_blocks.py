"""Printed CUDA loops of a step that loads or stores states in blocks.

A thread has some neighbouring elements, so many that 32 threads have a block of the largest codec.
All threads of a CUDA block take part in each round: they show each other their largest elements.
"""

from __future__ import annotations

from ..language.blockwise import scales_of
from ..language.passes import Step
from ..language.summation import LANES
from .c_family import C_TYPE
from .printer import Printer
from .shares import share_bounds
from .target import Lines, indented

WARP = 32  # threads


def loops_over_blocks(
    p: Printer, step: Step, element: Lines, threads: int, begin: str = "0", end: str = "n"
) -> Lines:
    """Return ``element`` for each ``k`` of a thread's elements, in rounds of so many ``threads``,
    from the element ``begin`` on and before ``end``. A thread has the same lanes of sums in all
    rounds: a round is all of the lanes, or a half of them."""
    blocks, stores = p.blocks_of(step), dict(step.stores)
    own = p.longest_block(step) // WARP
    arrays = [name for name in p.touched(step) if name not in p.rule.scales]
    pointers = ", ".join(p.arrays[name] for name in arrays)
    lines = [f"const bool aligned = before_groups<{own}>({pointers}) == 0;"]
    lines += [p.width("n", LANES)] if step.sums else []
    for node in step.sums:
        lines += p.zero_lanes(node, LANES)
        element = [*element, p.add(f"{p.lanes_name[id(node)]}[lane]", node)]
    lines += p.target.barrier if step.sums else []
    get: Lines = []
    put: Lines = []
    show: Lines = []
    encode: Lines = []
    for name in arrays:
        group = p.placed[name].removesuffix(".at[k]")
        place = f"{p.arrays[name]} + first"
        if name in p.codes_of_block:
            if name in step.loads:
                given = f"{p.arrays[name]} + first / 2, count, whole, {8 * blocks[name].signed}"
                get.append(f"const Group<int8_t, {own}> {group} = unpacked<{own}>({given});")
        elif name in step.loads:
            kind = f"Group<{C_TYPE[p.stored[name]]}, {own}>"
            get.append(f"{kind} {group} = load_some<{own}>({place}, count, whole);")
        elif name not in blocks:
            get.append(f"Group<{C_TYPE[p.stored[name]]}, {own}> {group};")
        if name in stores and name not in blocks:
            put.append(f"store_some({place}, {group}, count, whole);")
    for name, codec in blocks.items():
        scale = f"{p.arrays[scales_of(name)]} + first / {codec.size}"
        if name in step.loads:
            get.append(f"const float {p.scale_name[name]} = count ? *({scale}) : 0;")
        if name in stores:
            new, tops = p.new_values[name], p.new_name(f"{name}_tops")
            get.append(f"Group<float, {own}> {new} = {{}};")
            lines.insert(0, f"__shared__ uint32_t {tops}[{threads}];")
            show.append(f"{tops}[threadIdx.x] = top_of_group({new}, {codec.mask:#x});")
            half = " / 2" if codec.bits == 4 else ""
            encode_one = "to_map" if codec.most is None else "to_root"
            p.called.add(encode_one)
            encode += [
                f"store_in_block<{encode_one}, {codec.size // own}, {codec.per_byte}>("
                f"{new}, {tops}, count, whole,",
                f"    (uint8_t *){p.arrays[name]} + first{half}, {scale}, {p.code(codec)});",
            ]
    for name in [] if p.layout.matrix else p.rounded(step):
        first = f"{p.use('first_element')} + first"
        random = p.helper("random_group", *p.key_and_counter(name), first)
        get.append(f"const Random {p.random_name(name)} = {random};")
    left = f"{end} - first"
    lane = ["const int64_t lane = (first + k) & (width - 1);"] if step.sums else []
    body = [
        f"const int64_t first = start + {own} * threadIdx.x;",
        f"const int count = {left} < {own} ? ({end} > first ? (int)({left}) : 0) : {own};",
        f"const bool whole = aligned && count == {own};",
        *get,
        '_Pragma("unroll")',
        f"for (int k = 0; k < {own}; k++) {{",
        *indented(["if (k >= count) continue;", *lane, *element]),
        "}",
        *put,
    ]
    if show:
        body += [*show, *p.target.barrier, *encode, *p.target.barrier]
    p.called.add("in_blocks")
    p.use(end)
    whole, first = f"{own * threads}", begin
    if p.divisible(step):
        first, whole = f"{whole} * (int64_t)blockIdx.y", f"{whole} * (int64_t)gridDim.y"
        first = first if begin == "0" else f"{begin} + {first}"
    lines += p.target.loop("start", end, body, first, whole)
    for node in step.sums:
        lines += p.folded(node, "index")
    return lines


def share_loops(p: Printer, step: Step, per_row: Lines, element: Lines, threads: int) -> Lines:
    """Return the loops over a tile's share of a matrix (`samestep.printing.shares`)."""
    column = p.integer("column", "i - r * columns", "i r columns")
    row = p.integer("r", "i / columns", "i columns") if per_row or "r" in p.used else []
    return [
        *share_bounds(p, p.longest_block(step)),
        *loops_over_blocks(
            p,
            step,
            ["const int64_t i = first + k;", *row, *column, *per_row, *element],
            threads,
            "from_element",
            "to_element",
        ),
    ]
