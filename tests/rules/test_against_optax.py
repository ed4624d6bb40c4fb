"""float64 against optax, for the rules that it defines as we do.

Left out because the definitions differ: AMSGrad (maximum over corrected moments), NAdam (no
schedule of momenta), Adagrad (epsilon inside the root), Rprop (one step behind), RMSprop with
momentum (learning rate inside the buffer), decay in SGD and Adam (not part of them), LARS with
decay (divides by the norm of gradient plus decay), Adafactor's relative step (not part of it).
"""

from __future__ import annotations

import numpy as np
import pytest
import samestep as ss

optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")

# XLA may contract multiply-add and reassociate, 1e-16 an operation; its ``beta**t`` is good to
# some 1e-15, which ``1 - beta**t`` magnifies by 1 / (1 - beta**t) <= 1e3 at the first step, and
# the step is at most 0.1 of the largest parameter: 1e-13
TOLERANCE = 1e-12
STEPS = 50
SHAPES = [(9, 14), (6,)]
BETAS, EPS, LR = (0.87, 0.993), 1e-3, 0.05
# optax bounds the scale by 1e-3 and takes the power in the dtype of its exponent. Its decay is not
# multiplied by the learning rate, so equal only where ours is multiplied by that alone.
ADAFACTOR = dict(beta2_decay=-0.7, eps=(EPS, 1e-3), d=1.5, relative_step=False)
OPTAX_ADAFACTOR = dict(
    decay_rate=np.float64(0.7),
    eps=EPS,
    clipping_threshold=1.5,
    min_dim_size_to_factor=1,
    weight_decay_rate=0.1 * LR,
)

CASES = {
    "sgd": (ss.SGD, {}, "sgd", {}),
    "sgd-momentum": (ss.SGD, dict(momentum=0.9), "sgd", dict(momentum=0.9)),
    "sgd-nesterov": (
        ss.SGD, dict(momentum=0.9, nesterov=True), "sgd", dict(momentum=0.9, nesterov=True)
    ),
    "adam": (ss.Adam, dict(betas=BETAS, eps=EPS), "adam", dict(b1=0.87, b2=0.993, eps=EPS)),
    "adamw": (
        ss.AdamW, dict(betas=BETAS, eps=EPS, weight_decay=0.1),
        "adamw", dict(b1=0.87, b2=0.993, eps=EPS, weight_decay=0.1),
    ),
    "adamax": (ss.Adamax, dict(betas=BETAS, eps=EPS), "adamax", dict(b1=0.87, b2=0.993, eps=EPS)),
    "adadelta": (ss.Adadelta, dict(rho=0.8, eps=EPS), "adadelta", dict(rho=0.8, eps=EPS)),
    "rmsprop": (
        ss.RMSprop, dict(alpha=0.95, eps=EPS), "rmsprop", dict(decay=0.95, eps=EPS, eps_in_sqrt=False)
    ),
    # without epsilon: optax adds it to the corrected root
    "radam": (ss.RAdam, dict(betas=BETAS, eps=0.0), "radam", dict(b1=0.87, b2=0.993, eps=0.0)),
    "lion": (
        ss.Lion, dict(betas=BETAS, weight_decay=0.1), "lion", dict(b1=0.87, b2=0.993, weight_decay=0.1)
    ),
    "sign_sgd": (ss.SignSGD, {}, "sign_sgd", {}),
    "signum": (ss.Signum, dict(momentum=0.8), "signum", dict(beta=0.8)),
    "lamb": (
        ss.LAMB, dict(betas=BETAS, eps=EPS, weight_decay=0.1),
        "lamb", dict(b1=0.87, b2=0.993, eps=EPS, weight_decay=0.1),
    ),
    "lars": (
        ss.LARS, dict(trust_coefficient=0.3, eps=EPS), "lars", dict(trust_coefficient=0.3, eps=EPS)
    ),
    "lars-nesterov": (
        ss.LARS, dict(trust_coefficient=0.3, momentum=0.8, nesterov=True),
        "lars", dict(trust_coefficient=0.3, momentum=0.8, nesterov=True, eps=1e-8),
    ),
    "novograd": (
        ss.NovoGrad, dict(betas=BETAS, eps=EPS, weight_decay=0.1),
        "novograd", dict(b1=0.87, b2=0.993, eps=EPS, weight_decay=0.1),
    ),
    # optax gives the alias its own eps
    "sm3": (ss.SM3, dict(momentum=0.8, eps=1e-8), "sm3", dict(momentum=0.8)),
    "adafactor": (
        ss.Adafactor, dict(ADAFACTOR, beta1=0.9),
        "adafactor", dict(OPTAX_ADAFACTOR, momentum=0.9, dtype_momentum=np.float64, weight_decay_rate=None),
    ),
    "adafactor-absolute": (
        ss.Adafactor, dict(ADAFACTOR, scale_parameter=False, weight_decay=0.1),
        "adafactor", dict(OPTAX_ADAFACTOR, multiply_by_parameter_scale=False),
    ),
    "adafactor-whole": (
        ss.Adafactor, dict(ADAFACTOR, scale_parameter=False, weight_decay=0.1, factored=False),
        "adafactor", dict(OPTAX_ADAFACTOR, multiply_by_parameter_scale=False, factored=False),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def difference(ours, theirs, backend):
    """The largest difference after 50 steps, relative to the largest parameter."""
    (our_class, options), (name, their_options) = ours, theirs
    rng = np.random.default_rng(3)
    params = [rng.standard_normal(shape) for shape in SHAPES]
    optimizer = our_class(params, lr=LR, backend=backend, **options)
    reference = getattr(optax, name)(LR, **their_options)
    values = [jax.numpy.array(p) for p in params]
    state = reference.init(values)

    @jax.jit
    def step(values, state, grads):
        updates, state = reference.update(grads, state, values)
        return optax.apply_updates(values, updates), state

    for _ in range(STEPS):
        grads = [rng.standard_normal(shape) for shape in SHAPES]
        optimizer.step(grads)
        values, state = step(values, state, grads)
    assert all(v.dtype == np.float64 for v in values)
    return max(
        np.abs(param - value).max() / np.abs(param).max()
        for param, value in zip(params, values, strict=True)
    )


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_agree_with_optax(case, backend):
    our_class, options, name, their_options = CASES[case]
    assert difference((our_class, options), (name, their_options), backend) <= TOLERANCE


def test_the_trust_ratio_is_one_where_a_norm_is_zero(backend):
    params, grads = [np.zeros(3), np.ones(3)], [np.full(3, 0.5), np.zeros(3)]
    values = [jax.numpy.array(p) for p in params]
    ours = ss.LAMB(params, lr=0.1, weight_decay=0.0, backend=backend)
    theirs = optax.lamb(0.1, weight_decay=0.0)
    state = theirs.init(values)
    for _ in range(2):
        ours.step(grads)
        updates, state = theirs.update(grads, state, values)
        values = optax.apply_updates(values, updates)
    assert np.abs(params[0] - values[0]).max() <= TOLERANCE * np.abs(params[0]).max()
    assert params[0].max() < -0.05
    assert params[1].tolist() == values[1].tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((ss.Adam, dict(eps=EPS)), ("adam", dict(eps=EPS * (1 + 1e-6)))),
        ((ss.Adam, dict(betas=(0.9, 0.999))), ("adam", dict(b2=0.999 + 1e-9))),
        ((ss.Adam, dict(amsgrad=True)), ("amsgrad", {})),
        ((ss.RMSprop, dict(alpha=0.9, eps=EPS)), ("rmsprop", dict(decay=0.9, eps=EPS))),
        ((ss.LAMB, dict(weight_decay=0.1)), ("lamb", dict(weight_decay=0.1 + 1e-9))),
        ((ss.LARS, dict(weight_decay=0.1)), ("lars", dict(weight_decay=0.1, eps=1e-8))),
        ((ss.NovoGrad, dict(eps=EPS)), ("novograd", dict(b1=0.95, b2=0.98, eps=EPS + 1e-9))),
        (
            (ss.Adafactor, ADAFACTOR),
            ("adafactor", dict(OPTAX_ADAFACTOR, decay_rate=0.7, weight_decay_rate=None)),
        ),
    ],
    ids=["eps", "beta2", "amsgrad", "eps inside", "decay", "norm", "eps", "power in float32"],
)
def test_control_different_definitions_and_options_are_noticed(ours, theirs):
    assert difference(ours, theirs, "numpy") > TOLERANCE
