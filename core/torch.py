"""The same optimizers as subclasses of ``torch.optim.Optimizer``; needs PyTorch.

>>> from samestep.torch import AdamW
>>> optimizer = AdamW(model.parameters(), lr=1e-3)

The class that all of them derive from, `Optimizer`, takes any rule, your own included.
"""

from __future__ import annotations

import importlib

from .optimizers.classes import class_of
from .rules import classes

Optimizer = importlib.import_module("samestep.backends.torch.optim.optimizer").Optimizer

for _name, _rule in classes.items():
    globals()[_name] = class_of(_rule, _name, Optimizer, "samestep.torch", True)

__all__ = ["Optimizer", *classes]
