"""The same optimizers as subclasses of ``torch.optim.Optimizer``; needs PyTorch.

>>> from samestep.torch import AdamW
>>> optimizer = AdamW(model.parameters(), lr=1e-3)

The class that all of them derive from, `Optimizer`, takes any rule, your own included.
"""

from __future__ import annotations

import importlib

from .optimizers import CLASS_NAMES, class_of
from .rules import registry

Optimizer = importlib.import_module("samestep.backends.torch.optimizer").Optimizer

for _rule, _name in CLASS_NAMES.items():
    globals()[_name] = class_of(registry[_rule], _name, Optimizer, "samestep.torch", True)

__all__ = ["Optimizer", *CLASS_NAMES.values()]
