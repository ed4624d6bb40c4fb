"""Each rule as a transformation of optax with the same formula, where there is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

NONE = "it does not have this rule"
DIFFERENT = {
    "nadam": "no schedule of momenta",
    "radam": "eps is added to the corrected root",
    "adagrad": "eps is inside the root",
    "rprop": "its steps are one behind",
    "lars": "the decay is inside the norm it divides by",
    "adafactor": "it decays by weight_decay alone, without the step size",
}


def transformation(rule: str, h: SimpleNamespace) -> Any:
    """optax's transformation for these hyperparameters, or in a string why there is none."""
    if rule in DIFFERENT:
        return DIFFERENT[rule]
    if rule not in BUILDERS:
        return NONE
    import optax

    parts = BUILDERS[rule](optax, h)
    if isinstance(parts, str):
        return parts
    return optax.chain(*([optax.scale(-1.0)] if h.maximize else []), *parts)


def _decayed(optax: Any, h: SimpleNamespace) -> Any:
    return optax.add_decayed_weights(h.weight_decay)


def _sgd(optax: Any, h: SimpleNamespace) -> Any:
    if h.dampening:
        return "it has no dampening"
    return [_decayed(optax, h), optax.sgd(h.lr, h.momentum or None, h.nesterov)]


def _adam(optax: Any, h: SimpleNamespace) -> Any:
    if h.amsgrad:
        return "AMSGrad's maximum is over corrected moments"
    return [_decayed(optax, h), optax.adam(h.lr, *h.betas, h.eps)]


def _adamw(optax: Any, h: SimpleNamespace) -> Any:
    if h.amsgrad:
        return "AMSGrad's maximum is over corrected moments"
    return [optax.adamw(h.lr, *h.betas, h.eps, weight_decay=h.weight_decay)]


def _rmsprop(optax: Any, h: SimpleNamespace) -> Any:
    momentum = h.momentum or None
    rule = optax.rmsprop(
        h.lr, h.alpha, h.eps, eps_in_sqrt=False, centered=h.centered, momentum=momentum
    )
    return [_decayed(optax, h), rule]


def _adadelta(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.adadelta(h.lr, h.rho, h.eps, h.weight_decay)]


def _adamax(optax: Any, h: SimpleNamespace) -> Any:
    return [_decayed(optax, h), optax.adamax(h.lr, *h.betas, h.eps)]


def _lion(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.lion(h.lr, *h.betas, weight_decay=h.weight_decay)]


def _signsgd(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.scale_by_sign(), _decayed(optax, h), optax.scale_by_learning_rate(h.lr)]


def _signum(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.ema(h.momentum, debias=False), *_signsgd(optax, h)]


def _lamb(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.lamb(h.lr, *h.betas, h.eps, weight_decay=h.weight_decay)]


def _novograd(optax: Any, h: SimpleNamespace) -> Any:
    return [optax.novograd(h.lr, *h.betas, h.eps, weight_decay=h.weight_decay)]


BUILDERS = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
    "adadelta": _adadelta,
    "adamax": _adamax,
    "lion": _lion,
    "signsgd": _signsgd,
    "signum": _signum,
    "lamb": _lamb,
    "novograd": _novograd,
}
