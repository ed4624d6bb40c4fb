"""What ptxas makes of representative kernels, instruction by instruction: elements move by 128
bits, in the ratio of the rule's program, nothing goes through local memory, and registers leave
room for enough threads. Counts depend on how ptxas unrolls, so ratios are held."""

from __future__ import annotations

import pytest
from cubin import accesses, disassembly, instructions, resources
from kernel_table import blocks, loops, moved, occupancy
from nvrtc import ARCHITECTURES, cubin
from printed import PAIRS, printer
from samestep.language.dtypes import numpy_dtype

# registers of a thread at most, on sm_75 and on all newer architectures: about 10 % above what it
# was when this was written
BUDGETS = {
    ("adamw", PAIRS[0]): (64, 44),
    ("adamw", PAIRS[1]): (66, 68),
    ("adamw", PAIRS[2]): (68, 53),
    ("lion", PAIRS[0]): (64, 44),
    ("lamb", PAIRS[0]): (85, 87),
}


def ratio(printed, step):
    """Bytes loaded and stored for an element."""
    size = {name: numpy_dtype(dtype).itemsize for name, dtype in printed.stored.items()}
    size = {name: size.get(name, printed_size(printed)) for name in printed.program.arrays}
    return sum(size[a] for a in step.loads), sum(size[a] for a, _ in step.stores)


def printed_size(printed):
    return numpy_dtype(printed.compute).itemsize


def complaints(printed, code):
    """What is wrong with the machine code of these kernels; ``code``: `cubin.instructions`."""
    found = []
    steps = {
        printed.name_of("pass", k): printed.program.passes[k]
        for kind, k in printed.program.launches
        if kind == "pass"
    }
    for name, counts in code.items():
        kinds = {instruction.partition(".")[0] for instruction in counts}
        found += [f"{name}: {kind}" for kind in ("LDL", "STL", "LD", "ST") if kind in kinds]
        if name in steps:
            loads, stores = accesses(counts, 128)
            read, written = ratio(printed, steps[name])
            if not loads or loads * written != stores * read:
                found.append(f"{name}: {loads} loads and {stores} stores of 128 bits")
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("label", "pair"), BUDGETS, ids=str)
def test_elements_move_by_128_bits_and_registers_suffice(label, pair, architecture, tmp_path):
    printed = printer(label, pair)
    code = cubin(printed.source(), architecture)
    assert not complaints(printed, instructions(code, tmp_path))
    most = max(used["REG"] for used in resources(code, tmp_path).values())
    assert most <= BUDGETS[label, pair][architecture != "75"]


def test_adamw_loads_and_stores_in_the_ratio_of_4_to_3(tmp_path):
    assert ratio(printer("adamw"), printer("adamw").program.passes[0]) == (16, 12)
    counts = instructions(cubin(printer("adamw").source(), "90"), tmp_path)["adamw_update"]
    assert accesses(counts, 128) == (4, 3)


def test_the_loop_over_most_elements_is_found(tmp_path):
    text = disassembly(cubin(printer("adamw").source(), "90"), tmp_path)["adamw_update"]
    found = {(moved(counts, "LDG"), moved(counts, "STG")) for counts in loops(text)}
    assert found == {(64, 48), (16, 12)}  # four elements at a time, and single ones beside them


@pytest.mark.parametrize(
    ("registers", "shared", "share"),
    [(32, 0, 1), (33, 0, 0.75), (64, 0, 0.5), (255, 0, 0.125), (32, 48 * 1024, 0.375)],
)
def test_occupancy(registers, shared, share):
    """As NVIDIA's calculator has it for sm_80 and blocks of 256 threads."""
    assert occupancy({"REG": registers, "SHARED": shared}, "80") == share


@pytest.mark.parametrize("shape", [(5_000, 10_000), (64, 800_000), (800_000, 64)])
def test_adafactor_fills_a_gpu(shape):
    assert blocks(shape) >= 4 * 132  # multiprocessors of an H100


def test_control_narrow_accesses_generic_ones_and_spills_are_noticed(tmp_path):
    printed = printer("adamw")
    source = printed.source()
    narrow = source.replace(
        "sizeof(T) * N < 16 ? sizeof(T) * N : 16", "sizeof(T) * N < 8 ? sizeof(T) * N : 8"
    )
    generic = source.replace("__cvta_global_to_generic((size_t)(address))", "(address)")
    for changed, complaint in [(narrow, "0 loads and 0 stores"), (generic, "LD")]:
        assert changed != source
        found = complaints(printed, instructions(cubin(changed, "90"), tmp_path))
        assert any(complaint in text for text in found), found
    printed = printer("lamb", PAIRS[1])
    capped = printed.source().replace("__launch_bounds__(256, 2)", "__launch_bounds__(256, 8)")
    found = complaints(printed, instructions(cubin(capped, "90"), tmp_path))
    assert any("STL" in text for text in found), found
