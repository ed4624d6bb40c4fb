"""float64 against torch.optim: another implementation of the same definitions.

Gradients are given, never computed from the parameters, so that differences are not amplified.
Options are drawn at random and drawn again on the way; 100 steps.
"""

from __future__ import annotations

import importlib
import os

import numpy as np
import pytest
import samestep as ss
from helpers import off, on, step

TOLERANCE = 1e-12  # of the largest entry; rounding of 100 steps is some 100 * 1e-16
STEPS = 100
DRAWS = 8
SHAPES = [(17, 11), (5,)]


@pytest.fixture(scope="module")
def torch():
    if os.environ.get("SAMESTEP_TEST_TORCH") == "1":
        torch = importlib.import_module("torch")  # missing is a failure
    else:
        torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam and ASGD keep scalars in the default dtype
    yield torch
    torch.set_default_dtype(before)


class Draw:
    """Random hyperparameters."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def size(self, low: float, high: float) -> float:
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def usual(self) -> dict:
        """Learning rate, weight decay (sometimes none) and direction."""
        decay = self.size(1e-4, 0.3) * self.rng.integers(2)
        return dict(
            lr=self.size(1e-4, 0.1), weight_decay=float(decay), maximize=bool(self.rng.integers(2))
        )

    def betas(self) -> tuple[float, float]:
        return (self.between(0.0, 0.99), self.between(0.5, 0.9999))

    def adaptive(self) -> dict:
        return {**self.usual(), "betas": self.betas(), "eps": self.size(1e-12, 0.1)}


def without(options: dict, *names: str) -> dict:
    return {name: value for name, value in options.items() if name not in names}


def sgd(draw, **more):
    return {**draw.usual(), **more}


def sgd_momentum(draw):
    return {**draw.usual(), "momentum": draw.between(0.1, 0.99), "dampening": draw.between(0, 1)}


def sgd_nesterov(draw):
    return {**draw.usual(), "momentum": draw.between(0.1, 0.99), "nesterov": True}


def rmsprop(draw, **more):
    return {**draw.usual(), "alpha": draw.between(0.5, 0.999), "eps": draw.size(1e-12, 0.1), **more}


def adagrad(draw):
    start = draw.size(1e-3, 1) * draw.rng.integers(2)
    eps, decay = draw.size(1e-12, 0.1), draw.size(1e-4, 1)
    return {
        **draw.usual(),
        "lr_decay": decay,
        "initial_accumulator_value": float(start),
        "eps": eps,
    }


def rprop(draw):
    etas = (draw.between(0.3, 0.9), draw.between(1.05, 1.5))
    steps = (draw.size(1e-8, 1e-3), draw.size(0.1, 10))
    return {**without(draw.usual(), "weight_decay"), "etas": etas, "step_sizes": steps}


def asgd(draw):
    t0 = float(draw.rng.integers(0, 60))  # small, so that averaging begins
    alpha = draw.between(0.3, 1.5)
    return {**draw.usual(), "lambd": draw.size(1e-4, 1), "alpha": alpha, "t0": t0}


def adafactor(draw):
    """Without decay, which torch takes as lr and we as alpha times it. An eps1 that is lost beside
    the squares of these gradients: torch does not add it."""
    d, eps2 = draw.between(1, 1.2), draw.size(1e-3, 3)
    return {
        **without(draw.usual(), "weight_decay"),
        "lr": draw.size(1e-3, 1),
        "beta2_decay": -draw.between(0.3, 1.5),
        "eps": (1e-60, eps2),
        "d": d,
    }


def momentum(draw):
    return {"momentum": draw.between(0.1, 0.99)}


CASES = {
    "SGD": sgd,
    "SGD-momentum": sgd_momentum,
    "SGD-nesterov": sgd_nesterov,
    "Adam": Draw.adaptive,
    "Adam-amsgrad": lambda draw: {**draw.adaptive(), "amsgrad": True},
    "AdamW": Draw.adaptive,
    "AdamW-amsgrad": lambda draw: {**draw.adaptive(), "amsgrad": True},
    "RMSprop": rmsprop,
    "RMSprop-momentum": lambda draw: rmsprop(draw, **momentum(draw)),
    "RMSprop-centered": lambda draw: rmsprop(draw, centered=True),
    "RMSprop-centered-momentum": lambda draw: rmsprop(draw, centered=True, **momentum(draw)),
    "Adagrad": adagrad,
    "Adadelta": lambda draw: {
        **draw.usual(), "rho": draw.between(0, 0.99), "eps": draw.size(1e-8, 0.1)
    },
    "Adamax": Draw.adaptive,
    "NAdam": lambda draw: {**draw.adaptive(), "momentum_decay": draw.size(1e-3, 0.1)},
    "NAdam-decoupled": lambda draw: {**draw.adaptive(), "decoupled_weight_decay": True},
    "RAdam": Draw.adaptive,
    "RAdam-decoupled": lambda draw: {**draw.adaptive(), "decoupled_weight_decay": True},
    "Rprop": rprop,
    "ASGD": asgd,
    "Adafactor": adafactor,
    "SparseAdam": lambda draw: without(draw.adaptive(), "weight_decay"),
}  # fmt: skip
# torch's ASGD computes a step size at the end of the step before it, from the options of then
FIXED_OPTIONS = {"ASGD"}
THEIR_STATE = {
    "exp_avg_sq_row": "row_var", "exp_avg_sq_col": "col_var", "Adafactor exp_avg_sq": "variance"
}  # fmt: skip
# what torch has not, or with another default: it takes eps1 as a bound
NOT_TORCH_S = {
    "Rprop": {"weight_decay"},
    "Adafactor": {"eps", "beta1", "relative_step", "scale_parameter", "factored"},
}


def compare(torch, case, backend, options, seed, changes=None, theirs=None):
    """The largest difference, relative to the largest entry, of parameters and of each state
    after 100 steps. ``changes``: options from a step on; ``theirs``: other options for torch."""
    name = case.split("-")[0]
    rng = np.random.default_rng(seed)
    params = [rng.standard_normal(shape) for shape in SHAPES]
    ours = getattr(ss, name)(params, backend=backend, **options)
    tensors = [torch.tensor(p).requires_grad_() for p in params]
    sparse = name == "SparseAdam"  # which has one implementation and takes no other gradients
    chosen = {} if sparse else {"foreach": False}
    reference = getattr(torch.optim, name)(tensors, **chosen, **(theirs or options))
    trusted = [np.ones(shape, bool) for shape in SHAPES]
    for number in range(1, STEPS + 1):
        if changes and number in changes:
            ours.param_groups[0].update(changes[number])
            reference.param_groups[0].update(changes[number])
        grads = [rng.standard_normal(shape) for shape in SHAPES]
        for tensor, grad in zip(tensors, grads, strict=True):
            tensor.grad = torch.from_numpy(grad)
            if sparse:
                tensor.grad = tensor.grad.to_sparse(1)
        ours.step(grads)
        reference.step()
        if "centered" in case:  # v - mean**2 cancels: compare where little is lost, at all steps
            for mask, state in zip(trusted, ours.state, strict=True):
                v, mean = state["square_avg"], state["grad_avg"]
                mask &= v - mean * mean > 1e-3 * v
    for mask in trusted:
        assert mask.mean() > 0.5
    difference = 0.0
    for param, tensor, state, mask in zip(params, tensors, ours.state, trusted, strict=True):
        pairs = [(param, tensor)]
        for key, values in state.items():
            their_key = THEIR_STATE.get(f"{name} {key}", THEIR_STATE.get(key, key))
            pairs.append((values, reference.state[tensor][their_key]))
        for mine, other in pairs:
            other = other.detach().numpy().reshape(mine.shape)
            scale = np.abs(other).max()
            there = mask if mine.shape == mask.shape else ...
            difference = max(difference, np.abs(mine - other)[there].max() / (scale or 1.0))
    carried = ours.state_dict()["state"][0]
    if "mu_product" in carried:
        other = float(reference.state[tensors[0]]["mu_product"])
        difference = max(difference, abs(carried["mu_product"] - other) / other)
    assert np.isfinite(difference)
    return difference


@pytest.mark.parametrize("case", CASES)
def test_random_options_agree_with_torch_over_100_steps(torch, case, backend):
    for seed in range(DRAWS):
        options = CASES[case](Draw(seed))
        assert compare(torch, case, backend, options, seed) <= TOLERANCE, options


@pytest.mark.parametrize("case", [case for case in CASES if case not in FIXED_OPTIONS])
def test_options_changed_on_the_way_agree_with_torch(torch, case, backend):
    """The learning rate from step 20 on; all options that are numbers from steps 40 and 70 on."""
    for seed in range(100, 100 + DRAWS // 2):
        options = CASES[case](Draw(seed))
        changes = {20: dict(lr=options["lr"] * 0.3)}
        for number in (40, 70):
            drawn = CASES[case](Draw(seed + number))
            changes[number] = {k: v for k, v in drawn.items() if not isinstance(v, bool)}
        assert compare(torch, case, backend, options, seed, changes) <= TOLERANCE, options


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
        ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, maximize=True)),
        ("RMSprop", dict(momentum=0.9, weight_decay=0.1)),
        ("RMSprop", dict(momentum=0.9, centered=True)),
    ],
)
def test_momentum_that_is_0_for_a_while_agrees_with_torch(torch, name, options, backend):
    """Steps are plain ones then, not damped, and the buffer stays."""
    changes = {30: dict(momentum=0.0), 60: dict(momentum=0.5)}
    case = f"{name}-centered" if options.get("centered") else name
    assert compare(torch, case, backend, options, 0, changes) <= TOLERANCE


def test_step_sizes_of_rprop_may_begin_at_0(torch, backend):
    options = dict(lr=1e-3, step_sizes=(0, 50), etas=(0.01, 1.2))
    assert compare(torch, "Rprop", backend, options, 0) <= TOLERANCE


def test_rprop_takes_a_nan_gradient_as_torch_does(torch, any_backend):
    """The element stays in this step; the next goes by its own sign."""
    rng, nan = np.random.default_rng(0), np.nan
    start = np.array([1.0, -2.0, 3.0, -0.0, 5.0, 4.0])
    tensor = torch.tensor(start).requires_grad_()
    param = on(any_backend, start.copy())
    theirs = torch.optim.Rprop([tensor], lr=0.1, foreach=False)
    ours = ss.Rprop([param], backend=any_backend, lr=0.1)
    for broken in ([0], [], [0, 1, 4], [0, 1], [3], [3, 5], []):
        grad = rng.standard_normal(len(start))
        grad[broken] = nan
        tensor.grad = torch.from_numpy(grad)
        theirs.step()
        step(ours, [grad])
        np.testing.assert_array_equal(off(any_backend, param), tensor.detach().numpy())
        for name, values in ours.state[0].items():
            expected = theirs.state[tensor][name].numpy()
            np.testing.assert_array_equal(off(any_backend, values), expected)


@pytest.mark.parametrize("case", CASES)
def test_defaults_are_torch_s(torch, case):
    """Each hyperparameter's default; torch's Adagrad and Adadelta have lr defaults of their own."""
    name = case.split("-")[0]
    tensor = torch.zeros(1, requires_grad=True)
    theirs = getattr(torch.optim, name)([tensor]).defaults
    ours = getattr(ss, name)(np.zeros(1)).defaults
    every_rule_s = {*getattr(ss, name)._only_rule.common} - {"maximize"}
    extra = every_rule_s | NOT_TORCH_S.get(name, set())
    assert {k: v for k, v in ours.items() if k not in extra} == {
        k: theirs[k] for k in ours if k not in extra
    }


def fixed_options(case):
    """Options of a size at which each of them matters."""
    options = {**CASES[case](Draw(7)), "maximize": False, "lr": 0.05}
    options |= {"eps": 1e-3} if "eps" in options else {}
    options |= {"eps": (1e-60, 2.0), "d": 1.0} if case == "Adafactor" else {}
    options |= {"weight_decay": 0.1} if "weight_decay" in options else {}
    options |= {"betas": (0.9, 0.99)} if "betas" in options else {}
    if case == "Adagrad":
        options["initial_accumulator_value"] = 0.5
    if case == "ASGD":
        options["t0"] = 10.0
    return options


def slightly_wrong():
    for case in CASES:
        for name, value in fixed_options(case).items():
            if isinstance(value, tuple):
                for i in range(1 if name == "eps" else 0, len(value)):
                    changed = tuple(v * (1 + 1e-9 * (i == k)) for k, v in enumerate(value))
                    yield pytest.param(case, name, changed, id=f"{case}-{name}{i}")
            elif not isinstance(value, bool):
                yield pytest.param(case, name, value * (1 + 1e-6), id=f"{case}-{name}")


@pytest.mark.parametrize(("case", "name", "value"), list(slightly_wrong()))
def test_control_an_option_off_by_a_millionth_is_noticed(torch, case, name, value):
    """A beta by a thousand-millionth. Without this, agreement could come from options that have
    no effect."""
    options = fixed_options(case)
    wrong = {**options, name: value}
    assert compare(torch, case, "numpy", options, 1) <= TOLERANCE
    assert compare(torch, case, "numpy", wrong, 1, theirs=options) > TOLERANCE


def test_control_epsilon_inside_the_root_is_noticed(torch):
    def update(xp, s, param, grad, square_avg):
        square_avg = s.alpha * square_avg + s.rest * (grad * grad)
        return param - s.lr * (grad / xp.sqrt(square_avg + s.eps)), square_avg

    rule = ss.Rule(
        "inside",
        ss.rules.registry["rmsprop"].scalars,
        update,
        ss.rules.registry["rmsprop"].defaults,
    )
    param, grad = np.array([1.0]), np.array([0.5])
    ss.Optimizer(rule, param, backend="numpy").step(grad)
    tensor = torch.tensor([1.0], requires_grad=True)
    tensor.grad = torch.from_numpy(grad)
    torch.optim.RMSprop([tensor]).step()
    assert abs(param[0] - float(tensor.detach())) > TOLERANCE
