"""Ctrl-C takes effect before a step or after it: parameters, state and step counts are then all of
the same step, whatever runs in it."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time

import numpy as np
import pytest
import samestep as ss
from helpers import assert_same, on, random_like, snapshot
from samestep.interrupts import held

MOMENTS = 15
OPTIONS = dict(clip_global_norm=1.0, accumulation_steps=2)


def parameters(backend):
    """Of two dtypes, so in several launches, one staged, and for compiled code on several
    threads."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((170 if backend == "numba" else 30, 400)).astype(np.float32),
        np.asfortranarray(rng.standard_normal((40, 50))),
    ]


@contextlib.contextmanager
def interrupt_after(seconds):
    """Ctrl-C after so many seconds, in the block: it waits if it is done before. No garbage is
    collected there: Python drops what is raised in a callback of that, and JAX has one."""
    came = threading.Event()

    def press(*_):
        came.set()
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, press)
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
        while not came.is_set():
            time.sleep(1e-4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, before)


def interrupted_steps(make, step, look, count, moments=MOMENTS):
    """Interrupt steps at many moments; after each, compare with an optimizer that never was."""
    interrupted, untroubled = make(), make()
    for each in (interrupted, untroubled):
        for _ in range(2):  # compile
            step(each)
    begun = time.perf_counter()
    for each in (interrupted, untroubled):
        step(each)
    took = (time.perf_counter() - begun) / 2
    for seconds in np.linspace(1e-6, 1.2 * took, moments):
        before = count(untroubled)
        with pytest.raises(KeyboardInterrupt), interrupt_after(seconds):
            step(interrupted)
        if count(interrupted) != before:
            step(untroubled)
        assert count(interrupted) == count(untroubled)
        assert_same(look(interrupted), look(untroubled))


def on_arrays(backend, **changed):
    grads, options = on(backend, random_like(parameters(backend), 1)), {**OPTIONS, **changed}

    def make():
        return ss.Optimizer("lamb", on(backend, parameters(backend)), backend=backend, **options)

    def look(optimizer):
        return snapshot(optimizer) | {"steps": np.array([optimizer.steps_taken, *optimizer.steps])}

    def count(optimizer):
        return (optimizer.steps_taken, optimizer.micro_steps)

    return make, lambda optimizer: optimizer.step(grads), look, count


def test_an_interrupt_leaves_a_whole_step_or_none(any_backend):
    interrupted_steps(*on_arrays(any_backend))


@pytest.mark.parametrize("backend", ["torch:foreach", "numba"])
def test_an_interrupt_leaves_a_whole_step_of_a_torch_optimizer_or_none(backend):
    torch = pytest.importorskip("torch")
    from samestep.torch import AdamW

    grads = [torch.from_numpy(g) for g in random_like(parameters(backend), 1)]

    def make():
        params = [torch.from_numpy(p).requires_grad_() for p in parameters(backend)]
        optimizer = AdamW(params, backend=backend)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        return optimizer

    def look(optimizer):
        (group,) = optimizer.param_groups
        found = {f"param {i}": p.detach().numpy().copy() for i, p in enumerate(group["params"])}
        for i, param in enumerate(group["params"]):
            entry = optimizer.state[param]
            found |= {f"{name} {i}": v.numpy().copy() for name, v in entry.items()}
        return found

    def count(optimizer):
        (group,) = optimizer.param_groups
        return [float(optimizer.state[p]["step"]) for p in group["params"] if optimizer.state[p]]

    interrupted_steps(make, lambda optimizer: optimizer.step(), look, count)


def test_an_interrupt_in_the_first_step_of_a_torch_optimizer_counts_it_or_leaves_no_state():
    torch = pytest.importorskip("torch")
    from samestep.torch import SGD

    for seconds in np.linspace(1e-6, 3e-3, 40):
        param = torch.ones(1000, requires_grad=True)
        param.grad = torch.ones(1000)
        optimizer = SGD([param], lr=0.5, momentum=0.9, backend="numpy")
        with pytest.raises(KeyboardInterrupt), interrupt_after(seconds):
            optimizer.step()
        stepped = bool(optimizer.state.get(param))
        assert (param == (0.5 if stepped else 1.0)).all()
        assert not stepped or optimizer.state[param]["step"] == 1


def test_control_without_it_half_a_step_is_noticed(monkeypatch):
    monkeypatch.setattr("samestep.optimizers.optimizer.hold", lambda: False)
    with np.errstate(), pytest.raises(AssertionError):  # it may leave NumPy's modes switched, too
        interrupted_steps(*on_arrays("numpy", accumulation_steps=1), moments=60)


def test_the_second_interrupt_does_not_wait():
    pressed = []

    def press_twice():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            pressed.append(True)

    with pytest.raises(KeyboardInterrupt), held():
        press_twice()
    assert len(pressed) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with held():
        pass  # and that was that


def test_a_handler_of_one_s_own_is_called_once_after_the_block_and_is_there_again():
    called = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: called.append(signum))
    mine = signal.getsignal(signal.SIGINT)
    try:
        with held():
            with held():
                pass
            signal.raise_signal(signal.SIGINT)
            assert not called
        assert called == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_handlers_that_are_not_python_s_stay(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with held():
            assert signal.getsignal(signal.SIGINT) == handler
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_touch_no_handler():
    found = []

    def work():
        with held():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_nothing_is_left_over_after_a_second_interrupt_or_a_handler_set_in_the_block():
    def press_twice():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), held():
        press_twice()
    kept, called = None, []
    try:
        with held():
            kept = signal.signal(signal.SIGINT, lambda *_: called.append(True))
        signal.raise_signal(signal.SIGINT)
        assert called == [True]  # the new one stayed, and no interrupt was left over
        signal.signal(signal.SIGINT, kept)  # that of the block, which is over
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
