"""PyTorch's own database of optimizer tests drives our classes: every configuration in it, and
every input that must be an error.

In float64, against torch's for-loop. Gradients are given, not computed from the parameters.
Nothing here is ``capturable`` or ``differentiable``, which we do not have. The database is part of
torch and needs expecttest.
"""

from __future__ import annotations

import copy
import re
import warnings

import pytest
import samestep.torch as ours
import torch
from samestep.optimizers.classes import CLASS_NAMES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal import common_optimizers as database

TOLERANCE = 1e-12  # of the largest entry
STEPS = 10
SHAPES = [(4, 3), (5,), (), (1, 7)]
IMPLEMENTATIONS = {
    "forloop": dict(foreach=False),
    "foreach": dict(foreach=True),
    "fused": dict(fused=True),
    "default": {},
}
BOTH = [info for info in database.optim_db if info.name in CLASS_NAMES.values()]
# torch's Adafactor decays by lr, ours, as the paper's, by the step size that follows from it;
# its Muon's adjust_lr_fn="match_rms_adamw" is our match_rms_adamw=True
OTHER_DEFINITION = {"Adafactor": {"weight_decay"}, "Muon": {"adjust_lr_fn"}}
# what torch's implementations cannot do and refuse; ours can
NO_ERROR_HERE = {
    "lr as Tensor doesn't work with foreach & not capturable",
    "betas must be either both floats or both Tensors",
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True",
    ("SparseAdam", "complex not supported"),
    ("Muon", "only support 2D parameters"),  # of three axes
}


@pytest.fixture(autouse=True)
def _muon_in_float64(monkeypatch):
    """Have torch's Muon iterate in the dtype it was given; it does so in bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)


@pytest.fixture(autouse=True)
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam and ASGD keep scalars in the default dtype
    yield
    torch.set_default_dtype(before)


def configurations():
    for info in BOTH:
        if info.only_supports_sparse_grads:
            continue
        for given in info.optim_inputs_func("cpu"):
            if not OTHER_DEFINITION.get(info.name, set()) & set(given.kwargs):
                yield pytest.param(info, given, id=f"{info.name}-{given.desc}")


def sparse_configurations():
    """Optimizer and options, of those that take sparse gradients."""
    for info in BOTH:
        if info.only_supports_sparse_grads:
            for given in info.optim_inputs_func("cpu"):
                yield pytest.param(info, given.kwargs, id=f"{info.name}-{given.desc}")
        elif info.supports_sparse:
            yield pytest.param(info, info.metadata_for_sparse[0], id=info.name)


def of_rows(grad, generator):
    """A sparse gradient: these rows, at random places, some of them more than once."""
    indices = torch.randint(len(grad), (1, len(grad)), generator=generator)
    return torch.sparse_coo_tensor(indices, grad, grad.shape, check_invariants=True)


def run(optimizer_class, options, sparse=False):
    """Parameters and state after some steps with given gradients; one sits out every third."""
    generator = torch.Generator().manual_seed(0)
    shapes = [s for s in SHAPES if s or not sparse]
    if optimizer_class.__name__ == "Muon":
        shapes = [s for s in SHAPES if len(s) == 2]
    params = [torch.randn(s, generator=generator).requires_grad_() for s in shapes]
    optimizer = optimizer_class(params, **copy.deepcopy(options))
    for step in range(STEPS):
        for i, param in enumerate(params):
            grad = torch.randn(param.shape, generator=generator)
            grad = of_rows(grad, generator) if sparse else grad
            param.grad = None if i == 1 and step % 3 == 2 else grad
        optimizer.step()
    return params, optimizer.state


def difference(mine, theirs):
    """The largest of parameters and state, as a fraction of each one's largest entry."""
    found = 0.0
    for param, expected in zip(mine[0], theirs[0], strict=True):
        pairs = [(param.detach(), expected.detach())]
        for name, value in theirs[1][expected].items():
            if name in mine[1][param]:
                pairs.append((mine[1][param][name], torch.as_tensor(value)))
        for a, b in pairs:
            assert a.shape == b.shape
            assert bool(a.isfinite().all())
            found = max(found, float((a - b).abs().max() / (b.abs().max() or 1.0)))
    return found


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("info", "given"), list(configurations()))
def test_torch_s_configurations_agree_with_its_for_loop(info, given, implementation):
    foreach = {} if info.name == "Muon" else {"foreach": False}  # which it has not
    if info.name == "Muon" and "lr" in given.kwargs:  # a tensor of float32: a step of float32
        foreach["lr"] = float(given.kwargs["lr"])
    theirs = run(info.optim_cls, {**given.kwargs, **foreach})
    mine = run(getattr(ours, info.name), {**given.kwargs, **IMPLEMENTATIONS[implementation]})
    assert difference(mine, theirs) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("info", "options"), list(sparse_configurations()))
def test_torch_s_sparse_configurations_agree(info, options, implementation):
    lr = float(options.get("lr", 1e-3))  # of a float32 tensor torch would compute a float32 step
    theirs = run(info.optim_cls, {**options, "lr": lr}, sparse=True)
    ours_too = {**options, **IMPLEMENTATIONS[implementation]}
    mine = run(getattr(ours, info.name), ours_too, sparse=True)
    assert difference(mine, theirs) <= TOLERANCE


@pytest.mark.parametrize("info", BOTH, ids=lambda info: info.name)
def test_state_has_torch_s_names(info):
    options, sparse = (
        {"momentum": 0.9} if info.name == "SGD" else {},
        info.only_supports_sparse_grads,
    )
    theirs = run(info.optim_cls, options, sparse)[1]
    mine = run(getattr(ours, info.name), options, sparse)[1]
    if info.name == "Adafactor":  # another algorithm, other names: not exchanged
        return
    for expected, entry in zip(theirs.values(), mine.values(), strict=True):
        assert set(expected) <= set(entry) <= {*expected, "step"}


@pytest.mark.parametrize("name", ["lr", "eps", "betas", "weight_decay"])
def test_control_a_hyperparameter_slightly_off_is_noticed(name):
    options = dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1)
    wrong = dict(
        lr=1e-2 + 1e-10, betas=(0.9, 0.99 + 1e-10), eps=1e-3 + 1e-9, weight_decay=0.1 + 1e-8
    )
    theirs = run(torch.optim.AdamW, {**options, "foreach": False})
    assert difference(run(ours.AdamW, options), theirs) <= TOLERANCE
    assert difference(run(ours.AdamW, {**options, name: wrong[name]}), theirs) > TOLERANCE


def errors():
    for info in BOTH:
        given = info.optim_error_inputs_func("cpu", torch.float64)
        for i, error in enumerate(given):
            desc = error.optimizer_error_input.desc
            if OTHER_DEFINITION.get(info.name, set()) & set(error.optimizer_error_input.kwargs):
                continue
            yield pytest.param(info, error, id=f"{info.name}-{i}-{desc}")


def attempt(info, error):
    given = error.optimizer_error_input
    params = given.params
    if params is None:
        params = [torch.nn.Parameter(torch.ones(1, 1))]
    optimizer = getattr(ours, info.name)(params, **given.kwargs)
    if error.error_on is database.OptimizerErrorEnum.STEP_ERROR:
        optimizer.step()


@pytest.mark.parametrize(("info", "error"), list(errors()))
def test_torch_s_error_inputs_are_errors(info, error):
    """Of torch's type; where torch's message is not ours, it names the argument."""
    given = error.optimizer_error_input
    if given.desc in NO_ERROR_HERE or (info.name, given.desc) in NO_ERROR_HERE:
        attempt(info, error)
        return
    expected, of_params = (
        error.error_type,
        re.search("complex|dense params", given.desc),
    )
    with pytest.raises((expected, TypeError) if of_params else expected) as caught:
        attempt(info, error)
    named = [name for name in given.kwargs if str(caught.value).startswith(name)]
    assert named or re.search(error.error_regex, str(caught.value)) or of_params


@pytest.mark.parametrize("foreach", [None, True, False])
def test_what_is_no_error_here_is_what_it_says(foreach):
    """Tensors as lr and betas, also some of them and in any implementation, are their values."""
    tensors = dict(lr=torch.tensor([[0.01]]), betas=(0.9, torch.tensor(0.99)))
    numbers = dict(lr=0.01, betas=(0.9, 0.99))
    mine, theirs = (run(ours.AdamW, {**o, "foreach": foreach}) for o in (tensors, numbers))
    assert difference(mine, theirs) == 0
