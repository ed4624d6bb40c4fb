"""What stands in the PTX of printed kernels: exact operations only, global memory by wide accesses,
and as many bytes a parameter as the rule's program says."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import nvrtc
import ptx
import pytest
from printed import ALL, PAIRS, printer
from ptx_checks import complaints
from samestep.language.dtypes import numpy_dtype


def moved_by_groups(kernel: ptx.Kernel) -> Counter[tuple[str, int]]:
    """How often each kind of access to a group of neighbours stands in the text, by bytes. What
    is read as constant (the tables) is no array; scalar accesses are heads and tails."""
    return Counter(
        (i.opcode[0], i.bytes)
        for i in kernel.code
        if i.is_global and "nc" not in i.opcode and i.lanes > 1
    )


def expected_groups(printed, step) -> Counter[tuple[str, int]]:
    """The same from the program: groups of neighbours of all arrays, by 16 bytes at most. Where a
    pass adds up there are fewer, and half as many where arrays and sums are more than seven (six in
    float64): registers."""
    dtypes = {name: numpy_dtype(printed.stored[name]).itemsize for name in printed.program.arrays}
    stores = [name for name, _ in step.stores]
    arrays = {*step.loads, *stores}
    count = 16 // min(dtypes[name] for name in arrays)
    count = min(count, 4) if step.sums else count
    most = 6 if printed.compute == "float64" else 7
    count //= 2 if step.sums and len(arrays) + len(step.sums) > most else 1
    found: Counter[tuple[str, int]] = Counter()
    if count == 1:  # scalar accesses
        return found
    for kind, names in (("ld", step.loads), ("st", stores)):
        for name in names:
            whole, rest = divmod(count * dtypes[name], 16)
            found[kind, 16] += whole
            found[kind, rest] += 1
    return Counter({key: n for key, n in found.items() if n and key[1]})


def variables(text: str) -> list[str]:
    """Declarations of variables in global or constant memory, of which kernels need none."""
    return re.findall(r"^(?:\.\w+ )*\.(?:global|const) .*", text, re.MULTILINE)


def kernels(label, pair, architecture="90"):
    text = nvrtc.ptx(printer(label, pair).source(), architecture)
    assert not variables(text)
    return ptx.read(text)


@pytest.mark.parametrize("label", ALL)
def test_every_operation_is_exact_and_every_access_is_of_a_known_space(label):
    for architecture, pair in [("90", pair) for pair in PAIRS] + [
        ("75", PAIRS[0]),
        ("120", PAIRS[0]),
    ]:
        for kernel in kernels(label, pair, architecture).values():
            assert not complaints(kernel), (kernel.name, pair)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("label", [x for x in ALL if not printer(x).layout.matrix])
def test_elements_are_moved_in_groups_as_wide_as_can_be(label, pair):
    """Elements of a flat program, by 128 bits where the array's dtype and the others' allow."""
    printed = printer(label, pair)
    found = kernels(label, pair)
    passes = [(name, step) for name, kind, step in in_order(printed) if kind == "pass"]
    assert passes
    for name, step in passes:
        assert moved_by_groups(found[name]) == expected_groups(printed, step), name


def in_order(printed):
    """Name, kind and step of each kernel."""
    steps = {"pass": printed.program.passes, "fold": printed.program.folds}
    for kind, k in printed.program.launches:
        for launch in printed.launches_of(kind, k):
            yield launch.name, kind, steps[kind][k]


def test_adamw_moves_28_bytes_a_parameter():
    (kernel,) = kernels("adamw", PAIRS[0]).values()
    moved = moved_by_groups(kernel)
    assert moved == {("ld", 16): 4, ("st", 16): 3}
    assert sum(n * bytes_ for (_, bytes_), n in moved.items()) / 4 == 28
    assert sum(printer("adamw").program.traffic) * 4 == 28


def test_options_are_needed():
    """Control: without them NVRTC contracts, approximates and flushes, and the check tells."""
    source = printer("adamw").source()
    for option, instead, complaint in [
        ("--fmad=false", "--fmad=true", r"inexact: fma\.rn\.f32"),
        ("-prec-div=true", "-prec-div=false", r"inexact: div\.full\.f32"),
        ("-prec-sqrt=true", "-prec-sqrt=false", r"inexact: sqrt\.approx\.f32"),
        ("-ftz=false", "-ftz=true", r"inexact: \w+\.rn\.ftz\.f32"),
    ]:
        options = tuple(instead if x == option else x for x in nvrtc.OPTIONS)
        assert options != nvrtc.OPTIONS
        (kernel,) = ptx.read(nvrtc.ptx(source, "90", options)).values()
        assert any(re.match(complaint, text) for text in complaints(kernel)), option


def test_control_generic_and_narrow_accesses_are_noticed():
    source = printer("adamw").source()
    generic = source.replace(
        "((type *)__cvta_global_to_generic((size_t)(address)))", "((type *)(address))"
    )
    assert generic != source
    (kernel,) = ptx.read(nvrtc.ptx(generic)).values()
    assert any("generic" in text for text in complaints(kernel))
    narrow = source.replace("? sizeof(T) * N : 16)", "? sizeof(T) * N : 8)")
    narrow = narrow.replace("alignas(sizeof(T) * N < 16", "alignas(sizeof(T) * N < 8")
    assert narrow != source
    (kernel,) = ptx.read(nvrtc.ptx(narrow)).values()
    step = printer("adamw").program.passes[0]
    assert moved_by_groups(kernel) != expected_groups(printer("adamw"), step)


def test_control_a_variable_is_noticed():
    source = printer("adamw").source()
    variable = source.replace("enum : int { n = N }", "static constexpr int n = N")
    assert variable != source
    assert variables(nvrtc.ptx(variable))


def test_control_a_bare_operation_is_noticed():
    """One that the assembler may still contract."""
    (kernel,) = kernels("adamw", PAIRS[0]).values()
    place, instruction = next(
        (k, i) for k, i in enumerate(kernel.code) if i.opcode == ("mul", "rn", "f32")
    )
    kernel.code[place] = dataclasses.replace(instruction, opcode=("mul", "f32"))
    assert len(complaints(kernel)) == 1
