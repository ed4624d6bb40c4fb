"""Weight decay masks: which parameters decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..language.rule import Rule
from .trees import Spec, flatten_like


def decay_mask(
    mask: Any,
    rule: Rule,
    spec: Spec,
    params: Sequence[Any],
    names: Sequence[str],
    where: str = "",
) -> list[bool]:
    """Say for each parameter of a group whether it decays.

    Parameters
    ----------
    mask
        None (all do); a function ``mask(name, param) -> bool``, for example
        ``lambda name, param: param.ndim >= 2``; or bools in the structure of the parameters.

    Raises
    ------
    TypeError
        For a rule without weight decay, or a mask that has something else than bools.
    ValueError
        For a mask of another structure.
    """
    if mask is None:
        return [True] * len(params)
    if "weight_decay" not in rule.defaults:
        raise TypeError(f"{where}{rule.name} has no weight_decay that weight_decay_mask could mask")
    if callable(mask):
        found = [mask(name, param) for name, param in zip(names, params, strict=True)]
    else:
        found = list(flatten_like(spec, mask, f"{where}weight_decay_mask"))
    for name, decays in zip(names, found, strict=True):
        if not isinstance(decays, (bool, np.bool_)):
            raise TypeError(f"{where}weight_decay_mask of {name} must be a bool, not {decays!r}")
    return [bool(decays) for decays in found]
