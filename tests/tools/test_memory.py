"""``samestep memory``: its arithmetic is what optimizers allocate."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import memory_page
import numpy as np
import pytest
import samestep as ss
from command_line import call, call_base
from memory_page import traced_growth
from samestep.language.dtypes import COMPUTE_DTYPE, numpy_dtype
from samestep.tools.bench.peak import traced_peak
from samestep.tools.memory import run as memory
from samestep.tools.memory.footprint import filled, footprint, parameter_count
from variants import DTYPES, every_variant, fitting, options_of, variants

SHAPES = ((3, 64, 5), (64, 96), (96,), (7, 1), (1,), (1000,), (2, 3, 4, 5), ())
REAL = ((1024, 512),) * 4 + ((512,),) * 8 + ((64, 3, 7, 7),)
OBJECTS, FIXED = 2_000, 50_000  # bytes of Python's objects: per tensor, and besides


def zeros(shapes: Any, dtype: str) -> list[Any]:
    return [np.zeros(shape, numpy_dtype(dtype)) for shape in shapes]


def state_bytes(optimizer: ss.Optimizer) -> int:
    return sum(array.nbytes for state in optimizer.state for array in state.values())


# ---- against allocations


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_bytes_are_those_of_the_arrays(rule: ss.Rule, dtype: str) -> None:
    params = fitting(rule, zeros(SHAPES, dtype))
    shapes = [param.shape for param in params]
    optimizer = ss.Optimizer(rule, params, backend="numpy", **options_of(rule))
    for grad_dtype in dict.fromkeys((dtype, COMPUTE_DTYPE[dtype])):
        need = footprint(rule, Counter(shapes), dtype, grad_dtype)
        grads = zeros(shapes, grad_dtype)
        optimizer.step(grads)  # they are gradients that the optimizer takes
        assert need.params == sum(array.nbytes for array in params)
        assert need.grads == sum(array.nbytes for array in grads)
        assert need.state == state_bytes(optimizer)
        assert need.total == need.params + need.grads + need.state


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_bytes_of_states_in_fewer_bits_are_those_of_the_arrays(rule: ss.Rule) -> None:
    stored = rule.stored_as("bfloat16")
    hyper = {**options_of(rule), "state_dtype": "bfloat16"}
    params = fitting(rule, zeros(SHAPES, "float32"))
    shapes = Counter(param.shape for param in params)
    optimizer = ss.Optimizer(rule, params, backend="numpy", **hyper)
    need, full = (footprint(each, shapes, "float32", "float32").state for each in (stored, rule))
    assert need == state_bytes(optimizer)
    assert need < full or not stored.storage  # nothing of the parameter's size


def test_control_another_variant_or_dtype_has_other_bytes() -> None:
    adam = ss.rules.registry["adam"]
    need = footprint(adam, Counter(SHAPES), "float32", "float32")
    assert footprint(adam.variant(amsgrad=True), Counter(SHAPES), "float32", "float32") != need
    assert footprint(adam, Counter(SHAPES), "bfloat16", "float32").state == need.state
    assert footprint(adam, Counter(SHAPES), "float64", "float64").state == 2 * need.state


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "adafactor", "novograd"])
def test_an_optimizer_allocates_its_state_and_little_else(name: str, backend: str) -> None:
    params = zeros(REAL, "float32")
    ss.Optimizer(name, params, backend=backend)  # imports what it needs
    made: list[ss.Optimizer] = []
    grown = traced_growth(lambda: made.append(ss.Optimizer(name, params, backend=backend)))
    need = footprint(ss.rules.registry[name], Counter(REAL), "float32", "float32").state
    assert need <= grown <= need + FIXED + OBJECTS * len(REAL)
    assert need == state_bytes(made[0])


def test_a_parameter_that_is_not_contiguous_is_staged(backend: str) -> None:
    params = [np.zeros((512, 1024), np.float32).T]
    ss.SGD(params, backend=backend)
    made: list[ss.Optimizer] = []
    grown = traced_growth(lambda: made.append(ss.SGD(params, backend=backend)))
    assert params[0].nbytes <= grown <= params[0].nbytes + FIXED + OBJECTS


# ---- what steps need


def reducing(rule: ss.Rule) -> bool:
    return rule.name in ("lamb", "lars", "novograd", "adafactor")


MOST = ("rmsprop_momentum_centered", "adamw_amsgrad", "lamb", "adafactor_beta1")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("label", MOST)
def test_a_step_needs_as_little_as_the_command_says(label: str, dtype: str, backend: str) -> None:
    """For the rules that have most to keep, and those that reduce."""
    (rule,) = (rule for rule in variants() if rule.label == label)
    options = options_of(rule)
    small = zeros([(2, 2)], dtype)
    ss.Optimizer(rule, small, backend=backend, **options).step(small_gradients(small))
    needed = []
    for shape in ((512, 512), (1024, 1024)):  # whole blocks
        params = zeros([shape], dtype)
        grads, others = small_gradients(params), small_gradients(params)
        optimizer = ss.Optimizer(rule, params, backend=backend, **options)
        kept = traced_growth(lambda optimizer=optimizer, grads=grads: optimizer.step(grads))
        during = traced_peak(lambda optimizer=optimizer, others=others: optimizer.step(others))
        elements = params[0].size
        assert kept <= FIXED + OBJECTS + 0.5 * elements * (backend != "numpy")
        assert during <= (4e6 + elements * reducing(rule) if backend == "numpy" else 100_000)
        needed.append(during)
    if not reducing(rule):  # bounded, whatever the size
        assert needed[1] <= needed[0] + 20_000


def small_gradients(params: list[Any]) -> list[Any]:
    return [np.full_like(array, 0.01) for array in params]


@pytest.mark.parametrize(
    "options", [dict(clip_global_norm=1.0), dict(clip_norm=1.0), dict(clip_value=1.0)]
)
def test_clipping_keeps_a_few_numbers_per_tensor(options: dict, backend: str) -> None:
    grown = []
    for given in ({}, options, {}, options):
        params = zeros([(512, 256)] * 4, "float32")
        grads = small_gradients(params)
        optimizer = ss.AdamW(params, backend=backend, **given)
        grown.append(traced_growth(lambda optimizer=optimizer, grads=grads: optimizer.step(grads)))
    plain, clipped = grown[2:]  # the first time something is imported or compiled
    assert clipped - plain <= FIXED + 4 * OBJECTS  # 2 MB is what the parameters take


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accumulation_keeps_one_sum_per_parameter(dtype: str, backend: str) -> None:
    shapes = Counter([(512, 256)] * 4)
    sums = parameter_count(shapes) * 4
    for _ in range(2):  # the first time something is imported or compiled
        params = zeros(shapes.elements(), dtype)
        grads = small_gradients(params)
        optimizer = ss.AdamW(params, backend=backend, accumulation_steps=2)
        grown = traced_growth(lambda optimizer=optimizer, grads=grads: optimizer.step(grads))
    assert sums <= grown <= sums + FIXED + 4 * OBJECTS
    assert f"{sums / 1e6:,.3f} MB" in " ".join(memory.notes(shapes, dtype))


# ---- shapes and tables


@pytest.mark.parametrize(
    ("params", "block", "expected"),
    [
        (100, [(4, 5)], {(4, 5): 5}),
        (107, [(4, 5)], {(4, 5): 5, (1, 5): 1, (2,): 1}),
        (3, [(4, 5)], {(3,): 1}),
        (75, [(4, 5), (2, 5), (5,)], {(4, 5): 2, (2, 5): 2, (5,): 2, (1, 5): 1}),
        (9, [(4,)], {(4,): 2, (1,): 1}),
    ],
)
def test_a_number_of_parameters_is_filled_with_tensors(
    params: int, block: list[tuple[int, ...]], expected: dict[tuple[int, ...], int]
) -> None:
    shapes = filled(params, block)
    assert shapes == expected
    assert parameter_count(shapes) == params


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        ("--params 7e9 --rule adamw.", "28.000 56.000 28.000 112.000 104.308 3.000 4.000"),
        ("--params 7e9 --rule adamw. --param-dtype bfloat16", "14.000 56.000 14.000 84.000 78.231 5.000 6.000"),
        ("--params 7e9 --rule adamw. --param-dtype bfloat16 --grad-dtype float32", "14.000 56.000 28.000 98.000 91.270 5.000 7.000"),
        ("--params 7e9 --rule adamw. --state-dtype bfloat16", "28.000 28.000 28.000 84.000 78.231 2.000 3.000"),
        ("--params 7e9 --rule adamw. --state-dtype exp_avg=float16", "28.000 42.000 28.000 98.000 91.270 2.500 3.500"),
        ("--params 7e9 --rule sgd.", "28.000 0.000 28.000 56.000 52.154 1.000 2.000"),
        ("--shape 30x40 --shape 10 --rule adam.", "4.840 9.680 4.840 19.360 18.906 3.000 4.000"),
        ("--params 2e6 --shape 1000x1000 --rule adafactor.", "8.000 0.016 8.000 16.016 15.274 1.002 2.002"),
    ],
)  # fmt: skip
def test_the_command_prints_bytes(words: str, cells: str, capsys: Any) -> None:
    """A full stop marks the rule whose first row is looked at."""
    rule = re.search(r"--rule (\w+)\.", words)[1]  # type: ignore[index]
    assert call("memory", *words.replace(".", "").split()) == 0
    (line, *_) = re.findall(rf"^{rule} .*$", capsys.readouterr().out, re.MULTILINE)
    assert line.split()[-7:] == cells.split()


def test_variants_that_keep_the_same_state_share_a_row(capsys: Any) -> None:
    assert call("memory", "--params", "1e6") == 0
    rows = capsys.readouterr().out.split("Kept are")[0].splitlines()[3:]
    labels = [line.split()[0] for line in rows]
    assert {"sgd", "sgd_momentum", "adam", "adam_amsgrad", "nadam", "adafactor"} <= set(labels)
    assert not {"sgd_momentum_nesterov", "nadam_decoupled_weight_decay"} & set(labels)
    assert len(labels) == len(set(labels))
    assert call("memory", "--params", "1e6", "--rule", "nadam_decoupled_weight_decay") == 0
    assert "nadam_decoupled_weight_decay  exp_avg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--params"),
        ("--params 0", "--params must be a whole number of at least 1, not 0"),
        ("--params 1.5", "--params must be a whole number of at least 1, not 1.5"),
        ("--params nan", "--params must be a whole number"),
        ("--params inf", "--params must be a whole number"),
        ("--shape 3x", "--shape 3x: expected sizes such as 4096x11008"),
        ("--shape 3x0", "--shape 3x0"),
        ("--params 9 --rule nope", "--rule nope: no such rule; there are sgd"),
        ("--params 9 --param-dtype int8", "--param-dtype int8: expected one of"),
        ("--params 9 --grad-dtype float16", "--grad-dtype float16: gradients of float32"),
        (
            "--params 9 --state-dtype int2",
            "state_dtype is 'int2'; expected one of bfloat16, float16",
        ),
        ("--params 9 --state-dtype a=b --state-dtype float16", "expected one for all states, or"),
        (
            "--params 9 --param-dtype float64 --state-dtype float16",
            "codecs load to float32, and steps of float64",
        ),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, capsys: Any) -> None:
    assert call("memory", *words.split()) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert message in shown.err


def test_the_base_installation_has_the_command() -> None:
    done = call_base("memory", "--params", "7e9", "--rule", "adam", "--param-dtype", "bfloat16")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^adam +exp_avg, exp_avg_sq +14\.000 ", done.stdout, re.MULTILINE)


# ---- the page


def test_the_page_says_what_the_command_says() -> None:
    page = memory_page.PAGE.read_text(encoding="utf-8")
    blocks = [text for _, text in memory_page.BLOCK.findall(page)]
    assert len(blocks) == 4
    assert memory_page.computed() == blocks[:2], "python tests/tools/memory_page.py"


def test_what_the_page_says_was_allocated_is_what_was_computed() -> None:
    page = memory_page.PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^(\w+) +([\d,]+) +([\d,]+) +([\d,]+)$", page, re.MULTILINE)
    shapes = Counter(memory_page.all_work()["resnet50"].shapes)
    assert [name for name, *_ in found] == list(memory_page.ALLOCATED)
    for name, *numbers in found:
        computed, arrays, allocated = (int(number.replace(",", "")) for number in numbers)
        need = footprint(ss.rules.registry[name], shapes, "float32", "float32").state
        assert need == computed == arrays
        assert need <= allocated <= need + FIXED + OBJECTS * sum(shapes.values())
    assert math.prod(memory_page.MODELS[2][0]) == 16_000_000
