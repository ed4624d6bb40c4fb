"""Ctrl-C around a step leaves no mode of the process switched, wherever it comes.

Python looks at signals as a function starts and after one in C was called. A profile function is
told of just these moments, so it presses at each of them in turn; a timer presses at random ones.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time

import numpy as np
import pytest
import samestep as ss
from helpers import HOST
from modes import modes, switched
from samestep.language.tracer import trace_update
from samestep.rules import find_rule

# an interrupt that comes as a generator is closed is lost; pytest hears of it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TORCH = ["numpy", "numba", "torch:forloop", "torch:foreach"]
SHAPES = [(10,), (2, 3)]


class SwitchedError(AssertionError):
    """A mode is not what it was."""


def usable(backend):
    name = backend.partition(":")[0]
    if not ss.available_backends()[name].available:
        pytest.skip(f"{name} cannot run here")
    return backend


def arrays():
    return [np.full(shape, 0.5, np.float32) for shape in SHAPES]


def step_of_arrays(backend, make=ss.AdamW, **options):
    optimizer, grads = make(arrays(), backend=usable(backend), **options), arrays()
    return lambda: optimizer.step(grads)


def step_of_tensors(backend, closure=False, make=None):
    torch = pytest.importorskip("torch")
    from samestep.torch import AdamW

    params = [torch.from_numpy(a).requires_grad_() for a in arrays()]
    optimizer = (make or AdamW)(params, backend=usable(backend))
    for param in params:
        param.grad = torch.ones_like(param)

    def loss():
        found = sum((param * param).sum() for param in params)
        assert found.requires_grad
        found.backward()
        return found

    return lambda: optimizer.step(loss if closure else None)


def at_moments(*moments):
    """A profile function that presses Ctrl-C at these; it counts them in ``seen``."""
    seen = [0]

    def look(frame, event, arg):
        if event in ("call", "c_return"):
            seen[0] += 1
            if seen[0] in moments:
                signal.raise_signal(signal.SIGINT)

    return look, seen


def pressed(action, *moments):
    """How many moments there were until it was done or interrupted."""
    look, seen = at_moments(*moments)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            sys.setprofile(look)
            action()
        finally:
            sys.setprofile(None)
    return seen[0]


def check(before, *what):
    if found := switched(before):
        raise SwitchedError(f"{found}, pressed at {what}")


def press_everywhere(action, most=10_000, twice=0.25):
    """Press at each moment of a call, or at so many of them; at some a second time, after another
    press somewhere before it."""
    action()
    before, count = modes(), pressed(action)
    assert count > 20
    chosen = random.Random(0)
    moments = range(1, count + 1)
    for moment in moments if count <= most else sorted(chosen.sample(moments, most)):
        pressed(action, moment)
        check(before, moment)
        if moment > 1 and chosen.random() < twice:
            first = chosen.randrange(1, moment)
            pressed(action, first, moment)
            check(before, first, moment)


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("backend", TORCH)
def test_around_a_step_of_a_torch_optimizer(backend, closure):
    press_everywhere(step_of_tensors(backend, closure))


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "default device"])
def test_in_modes_of_the_user_s(mode):
    torch = pytest.importorskip("torch")
    step = step_of_tensors("torch:foreach", closure=mode == "no_grad")
    user = torch.device("cpu") if mode == "default device" else getattr(torch, mode)()
    with user:
        press_everywhere(step)


@pytest.mark.parametrize("backend", HOST)
def test_around_a_step_of_arrays(backend):
    press_everywhere(step_of_arrays(backend, clip_global_norm=1.0))


@pytest.mark.parametrize("backend", ["numpy", "torch:foreach"])
def test_as_an_optimizer_is_made_and_takes_its_first_step(backend):
    press_everywhere(lambda: step_of_arrays(backend)(), most=150)


def test_as_a_rule_is_traced():
    press_everywhere(lambda: trace_update(find_rule("lamb")), most=300)


def test_as_state_is_loaded():
    torch = pytest.importorskip("torch")
    from samestep.torch import AdamW

    optimizer = AdamW([torch.ones(3, requires_grad=True)], backend="numpy")
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    optimizer.step()
    saved, other = optimizer.state_dict(), ss.AdamW(arrays(), backend="numpy")
    press_everywhere(lambda: optimizer.load_state_dict(saved), most=300)
    snapshot = other.state_dict()
    press_everywhere(lambda: other.load_state_dict(snapshot), most=300)


def test_while_gradients_are_remembered(monkeypatch):
    import torch
    from samestep.backends import tensor_gradients
    from samestep.torch import SGD

    tensor = torch.ones(3, requires_grad=True)
    tensor.grad = torch.ones(3)
    optimizer = SGD([tensor], lr=0.5)
    optimizer.step()

    class Pressed(tensor_gradients.Watch):
        def __init__(self, *args):
            super().__init__(*args)
            raise KeyboardInterrupt

    monkeypatch.setattr(tensor_gradients, "Watch", Pressed)
    with pytest.raises(KeyboardInterrupt):  # the same gradients again: they are remembered
        optimizer.step()
    monkeypatch.undo()
    optimizer.step()
    assert tensor.tolist() in ([0.0] * 3, [-0.5] * 3)  # two steps or, if that one counted, three


def test_right_after_interrupts_were_held(monkeypatch):
    """Where calls are not inlined (a compiler looks at frames), Python looks at signals there,
    too."""
    torch = pytest.importorskip("torch")
    import samestep.backends.torch.optim.optimizer as torch_optimizer
    from samestep import interrupts
    from samestep.optimizers import optimizer

    hold = interrupts.hold

    def interrupted():
        hold()
        raise KeyboardInterrupt

    before, handler = modes(), signal.getsignal(signal.SIGINT)
    for module in (optimizer, torch_optimizer):
        monkeypatch.setattr(module, "hold", interrupted)
    param = torch.ones(3, requires_grad=True)
    param.grad = torch.ones(3)
    for step in (
        torch_optimizer.Optimizer("sgd", [param], lr=0.1, backend="numpy").step,
        lambda: ss.SGD(arrays(), lr=0.1).step(arrays()),
    ):
        with pytest.raises(KeyboardInterrupt):
            step()
        assert (modes(), signal.getsignal(signal.SIGINT)) == (before, handler)


# ---- at random moments


def wait_for(left):
    """Until all presses came. Python may forget the handler of a signal that comes as another's
    raises, so not for ever."""
    for _ in range(200):
        if not left[0]:
            break
        time.sleep(1e-5)


def timer_presses(action, seconds, gap):
    """Ctrl-C after so many seconds, and once more after ``gap`` if it is not 0."""
    left = [2 if gap else 1]
    armed = [True]

    def press(*_):
        left[0] -= 1
        if left[0]:
            signal.setitimer(signal.ITIMER_REAL, gap)
        signal.raise_signal(signal.SIGINT)

    def interrupt(*_):
        if armed[0]:
            raise KeyboardInterrupt

    handlers = signal.signal(signal.SIGALRM, press), signal.signal(signal.SIGINT, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                action()
                wait_for(left)
            finally:
                armed[0] = False  # nothing is called before, so this is reached
        wait_for(left)
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGALRM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)


def press_at_random(action, times=100):
    for _ in range(3):
        action()
    begun = time.perf_counter()
    for _ in range(5):
        action()
    took = (time.perf_counter() - begun) / 5
    before, chosen = modes(), random.Random(0)
    for k in range(times):
        seconds = max(1e-6, chosen.uniform(0, 1.3 * took))
        gap = max(1e-6, chosen.uniform(0, took / 2)) if k % 3 == 0 else 0.0
        timer_presses(action, seconds, gap)
        check(before, seconds, gap)


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("backend", TORCH)
def test_at_random_moments_around_a_step_of_a_torch_optimizer(backend, closure):
    press_at_random(step_of_tensors(backend, closure))


@pytest.mark.parametrize("backend", HOST)
def test_at_random_moments_around_a_step_of_arrays(backend):
    press_at_random(step_of_arrays(backend))


# ---- controls


def unsafe(backend):
    """A step that is wrapped as it used to be."""
    torch = pytest.importorskip("torch")
    return torch.no_grad()(step_of_tensors(backend))


@pytest.fixture
def autograd_again():
    yield
    if torch := sys.modules.get("torch"):
        torch.set_grad_enabled(True)


def test_control_a_mode_around_the_block_is_noticed(autograd_again):
    with pytest.raises(SwitchedError, match="autograd"):
        press_everywhere(unsafe("numpy"), twice=0)


def test_control_a_step_that_does_not_hold_interrupts_is_noticed(monkeypatch):
    monkeypatch.setattr("samestep.optimizers.optimizer.hold", lambda: False)
    with np.errstate(), pytest.raises(SwitchedError, match="numpy's errors"):
        press_everywhere(step_of_arrays("numpy"), twice=0)


def test_control_a_second_interrupt_that_never_waits_is_noticed(monkeypatch):
    monkeypatch.setattr("samestep.interrupts._is_switching", lambda frame: False)
    with np.errstate(), pytest.raises(SwitchedError, match="numpy's errors"):
        press_everywhere(step_of_arrays("numpy"), twice=1)


def test_control_a_random_press_finds_a_mode_that_is_put_back_late():
    class Late(np.errstate):
        def __exit__(self, *error):
            time.sleep(1e-3)
            super().__exit__(*error)

    def step():
        with Late(all="ignore"):
            pass

    with np.errstate(), pytest.raises(SwitchedError, match="numpy's errors"):
        press_at_random(step)
