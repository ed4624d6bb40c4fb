"""Each rule as a transformation of optax with the same formula, if optax has one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

DIFFERENT = {
    "nadam": "no schedule of momenta",
    "radam": "eps is added to the corrected root",
    "adagrad": "eps is inside the root",
    "rprop": "its steps are one behind",
    "lars": "the decay is inside the norm it divides by",
    "adafactor": "it decays by weight_decay alone, without the step size",
}
AMSGRAD = "AMSGrad's maximum is over corrected moments"
DIFFERENT_OPTIONS = {
    ("sgd", "dampening"): "it has no dampening",
    ("adam", "amsgrad"): AMSGRAD,
    ("adamw", "amsgrad"): AMSGRAD,
}


def transformation(rule: str, h: SimpleNamespace) -> Any:
    """Return optax's transformation for these hyperparameters, or a string that says why not."""
    if rule in DIFFERENT:
        return DIFFERENT[rule]
    if rule not in BUILDERS:
        return "it does not have this rule"
    for (name, option), reason in DIFFERENT_OPTIONS.items():
        if name == rule and getattr(h, option):
            return reason
    import optax

    signs = [optax.scale(-1.0)] if h.maximize else []
    return optax.chain(*signs, *BUILDERS[rule](optax, h))


def _decay(optax: Any, h: SimpleNamespace) -> Any:
    return optax.add_decayed_weights(h.weight_decay)


def _rmsprop(optax: Any, h: SimpleNamespace) -> list[Any]:
    options = dict(eps_in_sqrt=False, centered=h.centered, momentum=h.momentum or None)
    return [_decay(optax, h), optax.rmsprop(h.lr, h.alpha, h.eps, **options)]


def _signsgd(optax: Any, h: SimpleNamespace) -> list[Any]:
    return [optax.scale_by_sign(), _decay(optax, h), optax.scale_by_learning_rate(h.lr)]


def _decoupled(name: str) -> Callable[[Any, SimpleNamespace], list[Any]]:
    """Return the builder of a rule of Adam's kind that has a decay of its own."""
    return lambda optax, h: [
        getattr(optax, name)(h.lr, *h.betas, h.eps, weight_decay=h.weight_decay)
    ]


BUILDERS: dict[str, Callable[[Any, SimpleNamespace], list[Any]]] = {
    "sgd": lambda optax, h: [_decay(optax, h), optax.sgd(h.lr, h.momentum or None, h.nesterov)],
    "adam": lambda optax, h: [_decay(optax, h), optax.adam(h.lr, *h.betas, h.eps)],
    "adamw": _decoupled("adamw"),
    "rmsprop": _rmsprop,
    "adadelta": lambda optax, h: [optax.adadelta(h.lr, h.rho, h.eps, h.weight_decay)],
    "adamax": lambda optax, h: [_decay(optax, h), optax.adamax(h.lr, *h.betas, h.eps)],
    "lion": lambda optax, h: [optax.lion(h.lr, *h.betas, weight_decay=h.weight_decay)],
    "signsgd": _signsgd,
    "signum": lambda optax, h: [optax.ema(h.momentum, debias=False), *_signsgd(optax, h)],
    "lamb": _decoupled("lamb"),
    "novograd": _decoupled("novograd"),
    "sm3": lambda optax, h: [
        optax.scale_by_sm3(h.momentum, h.beta2, h.eps),
        optax.scale_by_learning_rate(h.lr),
    ],
}
