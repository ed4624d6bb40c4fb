"""The classes on a CUDA device, behind the double of one: nothing waits, GradScaler's tensors stay
on the device, steps are captured and replayed, streams change."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import samestep.torch as st
import torch
from conftest import needs_double
from samestep.golden.compare import assert_same_bits
from samestep.language.dtypes import numpy_dtype

pytestmark = needs_double
SHAPES = [(300, 7), (5,), (), (70_001,)]


def device():
    import cupy

    return cupy.cuda


def counted(monkeypatch, owner, name):
    """How often a function is called: a list that grows."""
    calls, original = [], getattr(owner, name)

    def counting(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counting)
    return calls


def waits(monkeypatch):
    """How often something waits for the device."""
    from cuda.bindings import driver

    return [
        counted(monkeypatch, driver, "cuEventSynchronize"),
        counted(monkeypatch, device().Stream, "synchronize"),
    ]


def params():
    from doubled_tensors import on_device

    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]
    return [on_device(array).requires_grad_() for array in arrays]


def gradients(seed):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]


def pair(name="AdamW", **hyper):
    """The same optimizer on the host and on the device."""
    ours, reference = params(), params()
    reference = [p.detach().clone().requires_grad_() for p in reference]
    make = getattr(st, name)
    return make(ours, backend="doubled", **hyper), make(reference, backend="numpy", **hyper)


def halves():
    from doubled_tensors import on_device

    return [on_device(np.zeros(shape, numpy_dtype("bfloat16"))) for shape in SHAPES]


def parameters(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def give(optimizer, arrays):
    """New gradients, in the device's memory where the parameters are there."""
    from doubled_tensors import on_device

    doubled = optimizer.backend.name == "doubled"
    for param, array in zip(parameters(optimizer), arrays, strict=True):
        param.grad = on_device(array) if doubled else torch.from_numpy(np.array(array))


def assert_alike(ours, reference):
    device().Device().synchronize()
    for a, b in zip(parameters(ours), parameters(reference), strict=True):
        assert_same_bits(a.detach().numpy(), b.detach().numpy())
        assert ours.state[a].keys() == reference.state[b].keys()
        for name, value in ours.state[a].items():
            assert_same_bits(value.numpy(), reference.state[b][name].numpy())


@pytest.mark.parametrize("name", ["AdamW", "LAMB", "Adafactor"])
def test_a_step_has_the_same_bits_and_does_not_wait(name, monkeypatch):
    ours, reference = pair(name)
    counts = waits(monkeypatch)
    for seed in range(3):
        for optimizer in (ours, reference):
            give(optimizer, gradients(seed))
            optimizer.step()
    assert counts == [[], []]
    assert_alike(ours, reference)


def test_one_launch_whatever_the_number_of_tensors(monkeypatch):
    from cuda.bindings import driver

    ours, _ = pair()
    give(ours, gradients(0))
    count = counted(monkeypatch, driver, "cuLaunchKernel")
    for _ in range(3):
        ours.step()
    assert len(count) == 3


def test_a_grad_scaler_s_tensors_stay_on_the_device(monkeypatch):
    """Its scale is divided out, and its flag looked at, by the kernels; whether the step counts is
    asked for a step later."""
    ours, reference = pair()
    steps = [[np.asarray(1024 * grad) for grad in gradients(seed)] for seed in range(4)]
    steps[1][0][3, 4] = np.inf
    assert ours._step_supports_amp_scaling
    event, stream = waits(monkeypatch)
    for number, grads in enumerate(steps):
        for optimizer in (ours, reference):
            give(optimizer, grads)
            optimizer.grad_scale = torch.tensor(1024.0)
            optimizer.found_inf = torch.tensor(float(number == 1))
            optimizer.step()
        assert (len(event), len(stream)) == (number, 0)
    ours.state_dict()  # counts the last step
    assert_alike(ours, reference)
    assert [float(ours.state[p]["step"]) for p in parameters(ours)] == [3.0] * 4


def test_torch_s_own_grad_scaler():
    ours, reference = pair("SGD", lr=0.1, momentum=0.9)
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2) for _ in "ab"]
    for seed in range(5):
        for optimizer, scaler in zip((ours, reference), scalers, strict=True):
            scaler.scale(torch.zeros(()))  # sets it up
            scale = scaler.get_scale()
            grads = [np.asarray(np.float32(scale) * grad) for grad in gradients(seed)]
            if seed == 2:
                grads[1][0] = np.nan
            give(optimizer, grads)
            scaler.step(optimizer)
            scaler.update()
    ours.state_dict()
    assert scalers[0].get_scale() == scalers[1].get_scale()
    assert_alike(ours, reference)


@pytest.mark.parametrize("name", ["AdamW", "LAMB"])
def test_a_captured_step_is_replayed_after_prepare(name):
    ours, reference = pair(name)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (ours, reference)]
    with device().Stream(non_blocking=True) as stream:
        give(ours, gradients(0))
        ours.step()
        before = [p.detach().clone() for p in parameters(ours)]
        steps = [float(ours.state[p]["step"]) for p in parameters(ours)]
        device().Device().synchronize()
        stream.begin_capture()
        ours.step()
        graph = stream.end_capture()
        assert [float(ours.state[p]["step"]) for p in parameters(ours)] == steps
        assert len(before) == len(SHAPES)
        for seed in range(1, 4):
            schedulers[0].step()
            for param, grad in zip(parameters(ours), gradients(seed), strict=True):
                param.grad.copy_(torch.from_numpy(grad))
            ours.prepare()
            graph.launch()
            stream.synchronize()
    for seed in range(4):
        give(reference, gradients(seed))
        reference.step()
        schedulers[1].step()
    assert_alike(ours, reference)


@contextlib.contextmanager
def captured(stream, message):
    """What is captured in the block raises a RuntimeError."""
    stream.begin_capture()
    try:
        with pytest.raises(RuntimeError, match=message):
            yield
    finally:
        stream.end_capture()


def test_what_a_replay_cannot_do_is_refused():
    ours, _ = pair()
    with pytest.raises(RuntimeError, match="no step of these parameters and options was captured"):
        ours.prepare()
    give(ours, gradients(0))
    with device().Stream() as stream:
        with captured(stream, "a step must be taken before one is captured"):
            ours.step()
        assert not ours.state[parameters(ours)[0]]
        ours.step()
        ours.found_inf = torch.tensor(0.0)
        with captured(stream, "a GradScaler may leave out cannot be captured"):
            ours.step()


def test_capturable_is_refused_with_what_to_do_instead():
    with pytest.raises(ValueError, match=r"capturable=True is not supported.*by prepare\(\)"):
        st.AdamW(params(), capturable=True)


def test_steps_follow_each_other_on_any_stream():
    ours, reference = pair()
    for seed in range(4):
        with device().Stream(non_blocking=True):
            give(ours, gradients(seed))
            ours.step()
        give(reference, gradients(seed))
        reference.step()
    assert_alike(ours, reference)


def test_checkpoints_go_from_one_to_the_other():
    ours, reference = pair()
    for optimizer in (ours, reference):
        give(optimizer, gradients(0))
        optimizer.step()
    device().Device().synchronize()
    saved = copy.deepcopy(ours.state_dict())
    reference.load_state_dict(saved)
    for optimizer in (ours, reference):
        give(optimizer, gradients(1))
        optimizer.step()
    assert_alike(ours, reference)


def test_a_backend_whose_state_is_no_tensors_is_refused(monkeypatch):
    from samestep.backends.torch.optim import backends

    class Arrays(type(pair()[0].backend)):
        def new_state(self, tensor, rule, hyper):
            return {name: np.zeros(3) for name in super().new_state(tensor, rule, hyper)}

    ours, _ = pair()
    arrays = Arrays(ours.backend.name, ours.backend.device)
    monkeypatch.setattr(backends, "get_backend", lambda *_: arrays)
    give(ours, gradients(0))
    with pytest.raises(TypeError, match=r'as a numpy.ndarray; expected a tensor \("torch:fused"'):
        ours.step()
    assert not ours.state[parameters(ours)[0]]


def test_copies_in_16_bits_are_written_there():
    copies, plain = halves(), params()
    ours = st.AdamW(params(), backend="doubled", copy_to=copies)
    without = st.AdamW(plain, backend="doubled")
    for number in range(3):
        for optimizer in (ours, without):
            give(optimizer, gradients(number))
            optimizer.step()
    device().Device().synchronize()
    for param, expected, half in zip(parameters(ours), plain, copies, strict=True):
        assert torch.equal(param, expected)
        assert torch.equal(half, param.bfloat16())
