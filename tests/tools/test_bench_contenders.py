"""Who competes in the benchmark: the same steps, counted bytes, and who is left out."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

import numpy as np
import pytest
from samestep.golden.compare import first_difference
from samestep.tools.bench import contenders, moved
from samestep.tools.bench.work_table import bytes_moved

SIZE = 4096


def arrays(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def parameters(contender: Any) -> list[Any]:
    return [np.asarray(p.detach() if hasattr(p, "detach") else p) for p in contender.params]


def test_contenders_compute_the_same_steps() -> None:
    pytest.importorskip("numba")
    params, *sets = (arrays(seed, (3, 5), (70_000,)) for seed in range(3))
    results = {}
    for name, make in contenders.makers()[0].items():
        contender = make(params, sets)
        for k in (0, 1, 0):
            contender.give(k)
            contender.step()
        if name != contenders.BARE_LOOP:
            results[name] = parameters(contender)
    reference = results[contenders.NUMPY]
    for exact in (contenders.WHOLE_ARRAYS, contenders.REFERENCE, contenders.EXPORTED_C):
        assert first_difference(results[exact][1], reference[1]) is None
    for found in results.values():
        for ours, expected in zip(found, reference, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


# ---- bytes moved


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("samestep numpy", 28),
        ("samestep numba", 28),
        (contenders.EXPORTED_C, 28),
        (contenders.WHOLE_ARRAYS, 160),
        ("torch fused", 28),
        (contenders.BARE_LOOP, 28),
    ],
)
def test_bytes_moved_are_counted(name: str, expected: int) -> None:
    makers, _ = contenders.makers()
    if name not in makers:
        pytest.skip(f"{name} cannot run here")
    assert round(bytes_moved(makers[name]), 2) == expected


def test_a_count_leaves_the_step_what_it_was() -> None:
    for name, make in contenders.makers()[0].items():
        if name in (contenders.BARE_LOOP, contenders.OPTAX):  # the count runs nothing
            continue
        params, grads = arrays(0, (SIZE,)), arrays(1, (SIZE,))
        counted, plain = make(params, [grads]), make(params, [grads])
        for contender in (counted, plain):
            contender.give(0)
        counted.count_bytes()
        steps = {"torch": 2, "NumPy": 1}.get(name.split()[0], 0)  # how many the count has taken
        for _ in range(steps):
            plain.step()
        ours, expected = parameters(counted), parameters(plain)
        np.testing.assert_array_equal(np.asarray(ours[0]), expected[0], err_msg=name)


def test_operations_of_torch_are_counted_as_read_and_written() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.ones(SIZE), torch.ones(SIZE)
    for step, expected in [
        (lambda: x + y, 12),  # two read, one made
        (lambda: x.mul_(2), 8),
        (lambda: x.add_(x), 8),  # one array, read and written
        (lambda: torch._foreach_add_([x, y], 1.0), 16),
        (lambda: torch.add(x, y, out=x), 12),
        (lambda: torch.mul(x, y, out=torch.empty(SIZE)), 12),  # what is written is not read
        (lambda: np.sqrt(x.numpy(), out=y.numpy()), 8),
        (lambda: None, 0),
    ]:
        with moved.counting_torch():
            step()
        assert moved.Counted.moved == expected * SIZE
        assert moved.Counted.operations == (expected > 0)


def test_operations_of_numpy_are_counted_as_read_and_written() -> None:
    x = np.ones(SIZE, np.float32).view(moved.Counted)
    for step, expected in [
        (lambda: x + x * 2, 4 + 4 + 4 + 4 + 4),
        (lambda: np.sqrt(x), 8),
        (lambda: x.__setitem__(slice(None), x), 8),
    ]:
        moved.Counted.moved = 0
        step()
        assert moved.Counted.moved == expected * SIZE


# ---- who is left out


def stand_in(monkeypatch: pytest.MonkeyPatch, optimizer: Any) -> None:
    """A module ``deepspeed`` with this optimizer in it."""
    for name in ("deepspeed", "deepspeed.ops", "deepspeed.ops.adam"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["deepspeed.ops.adam"].DeepSpeedCPUAdam = optimizer  # type: ignore[attr-defined]


def test_deepspeed_takes_part_where_it_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    asked: list[dict[str, Any]] = []

    def optimizer(tensors: Any, **options: Any) -> Any:
        asked.append(options)
        return torch.optim.AdamW(tensors, lr=options["lr"], weight_decay=options["weight_decay"])

    stand_in(monkeypatch, optimizer)
    makers, left_out = contenders.makers()
    assert list(makers)[-2:] == [contenders.DEEPSPEED, contenders.BARE_LOOP]
    assert not any("DeepSpeed" in line for line in left_out)
    assert asked == [dict(adamw_mode=True, **contenders.HYPER)]
    params, grads = arrays(0, (SIZE,)), arrays(1, (SIZE,))
    contender = makers[contenders.DEEPSPEED](params, [grads])
    contender.give(0)
    contender.step()
    (ours,) = parameters(contender)
    assert 0 < np.abs(ours - params[0]).max() < 2e-3
    assert contender.count_bytes() is None  # its arithmetic is not made of torch's operations


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("no compiler\nmany more lines"), "RuntimeError: no compiler"),
        (ImportError("no ninja"), "ImportError: no ninja"),
        (OSError("cannot open shared object"), "OSError: cannot open shared object"),
    ],
)
def test_deepspeed_is_left_out_with_the_reason(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")

    def optimizer(tensors: Any, **options: Any) -> Any:
        raise error

    stand_in(monkeypatch, optimizer)
    makers, left_out = contenders.makers()
    assert contenders.DEEPSPEED not in makers
    assert f"DeepSpeed CPUAdam is left out: {line}" in left_out


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "optax", "deepspeed"):
        monkeypatch.setitem(sys.modules, name, None)
    makers, left_out = contenders.makers()
    assert not any(name.startswith(("torch", "optax", "DeepSpeed")) for name in makers)
    assert "torch fused is left out: torch is not installed" in left_out
    assert "optax jit is left out: optax is not installed" in left_out
    assert "DeepSpeed CPUAdam is left out: deepspeed is not installed" in left_out
