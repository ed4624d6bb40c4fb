"""One optimizer of parameters on several devices: the host, and the double of a CUDA device."""

from __future__ import annotations

import copy

import pytest
import samestep.torch as st
import torch
from conftest import needs_double
from samestep.backends.torch.optim import backends as of_devices
from samestep.backends.torch.optim import first_state, groups, participants, parts
from test_torch_device import assert_alike, device, give, gradients, pair, parameters

pytestmark = needs_double
# tensors of the double are in memory of the host, and say so; this is where they stand for being
ELSEWHERE = torch.device("cuda", 0)


@pytest.fixture
def several(monkeypatch):
    """Make pairs of optimizers: the first has every second parameter on the device."""

    def pair_of(name="AdamW", first=0, **hyper):
        there, reference = pair(name, **hyper)
        on_device = {id(p) for p in parameters(there)[first::2]}
        backends = {False: "numba", True: "doubled"}
        original = of_devices.get_backend

        def device_of(param):
            return ELSEWHERE if id(param) in on_device else param.device

        def get_backend(name, params):
            return original(backends[id(params[0]) in on_device], params)

        for module in (first_state, groups, participants, parts, of_devices):
            monkeypatch.setattr(module, "device_of", device_of)
        monkeypatch.setattr(of_devices, "get_backend", get_backend)
        ours = getattr(st, name)(parameters(there), **hyper)
        assert {b.name for b in ours._backends.all()} == set(backends.values())
        ours.on_device = on_device
        return ours, reference

    return pair_of


def give_both(ours, reference, arrays):
    from doubled_tensors import on_device

    give(reference, arrays)
    for param, array in zip(parameters(ours), arrays, strict=True):
        there = id(param) in ours.on_device
        param.grad = on_device(array) if there else torch.from_numpy(array.copy())


@pytest.mark.parametrize("name", ["AdamW", "LAMB", "Adafactor", "Adagrad"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_step_has_the_bits_of_one_device(several, name, first):
    ours, reference = several(name, first)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (ours, reference)]
    for seed in range(4):
        grads = gradients(seed)
        give_both(ours, reference, grads)
        if seed == 1:  # all of one device sit out
            for optimizer_ in (ours, reference):
                for param in parameters(optimizer_)[::2]:
                    param.grad = None
        for optimizer_, scheduler in zip((ours, reference), schedulers, strict=True):
            optimizer_.step()
            scheduler.step()
    assert_alike(ours, reference)


def test_checkpoints_go_to_one_device_and_back(several):
    ours, reference = several()
    for seed in range(4):
        give_both(ours, reference, gradients(seed))
        ours.step()
        reference.step()
        device().Device().synchronize()
        ours.load_state_dict(copy.deepcopy(reference.state_dict()))
        reference.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert_alike(ours, reference)


@pytest.mark.parametrize("broken", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_an_error_on_one_device_changes_nothing_on_another(several, broken, late):
    ours, reference = several()
    if late:
        give_both(ours, reference, gradients(0))
        ours.step()
        reference.step()
    give_both(ours, reference, gradients(1))
    param = parameters(ours)[broken]
    good, param.grad = param.grad, None
    param.grad_dtype = None
    param.grad = good.double()
    with pytest.raises(TypeError, match=rf"gradient of params\[{broken}\] has dtype float64"):
        ours.step()
    param.grad = good
    ours.param_groups[0]["lr"] = 1e42
    with pytest.raises(ValueError, match="infinite in float32"):
        ours.step()
    ours.param_groups[0]["lr"] = reference.param_groups[0]["lr"]
    if late:
        assert_alike(ours, reference)
    else:
        assert not any(ours.state.values())
    ours.step()
    reference.step()
    assert_alike(ours, reference)


@pytest.mark.parametrize("fused", [False, True])
def test_a_grad_scaler_leaves_a_step_out_on_all_devices(several, fused):
    ours, reference = several()
    ours.defaults["fused"] = fused
    assert ours._step_supports_amp_scaling
    for seed in range(3):
        give_both(ours, reference, gradients(seed))
        for optimizer_ in (ours, reference):
            optimizer_.grad_scale = torch.tensor(1024.0)
            optimizer_.found_inf = torch.tensor(float(seed == 1))
            optimizer_.step()
    ours.state_dict()
    assert_alike(ours, reference)
    assert {float(ours.state[p]["step"]) for p in parameters(ours)} == {2.0}


def test_sums_over_all_parameters_are_of_one_device(several):
    ours, _ = several("Prodigy")
    give_both(ours, ours, gradients(0))
    with pytest.raises(
        ValueError, match="prodigy goes by sums over all parameters, and these are on"
    ):
        ours.step()
    assert not any(ours.state.values())


def test_a_graph_is_of_one_device(several):
    ours, reference = several()
    give_both(ours, reference, gradients(0))
    with device().Stream() as stream:
        ours.step()
        device().Device().synchronize()
        stream.begin_capture()
        try:
            with pytest.raises(RuntimeError, match="on several devices cannot be captured"):
                ours.step()
        finally:
            stream.end_capture()
    reference.step()
    assert_alike(ours, reference)


def test_a_device_without_elements_is_refused_by_name():
    params = [torch.ones(2, requires_grad=True), torch.ones(2, device="meta", requires_grad=True)]
    with pytest.raises(TypeError, match=r"params\[1\] is on the meta device"):
        st.AdamW(params)
