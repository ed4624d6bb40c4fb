"""samestep: one rule, every backend, the same step.

>>> import samestep as ss
>>> opt = ss.AdamW(params, lr=1e-3)
>>> opt.step(grads)
"""

import importlib
import typing

from . import optimizers
from .backend import available_backends, get_backend, use_backend
from .emit import emit
from .export import export
from .loss_scaler import LossScaler
from .optimizer import Optimizer
from .optimizers import *  # noqa: F403 (a class for every built-in rule)
from .rule import Rule
from .rules import registry as rules
from .slices import IndexedSlices

__version__ = "0.1.0"


if typing.TYPE_CHECKING:
    from . import schedules
    from .checkpoint import CheckpointError
else:

    def __getattr__(name):
        """What not everybody needs is imported when it is asked for."""
        if name == "schedules":
            return importlib.import_module(".schedules", __name__)
        if name == "CheckpointError":
            return importlib.import_module(".checkpoint", __name__).CheckpointError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "CheckpointError",
    "IndexedSlices",
    "LossScaler",
    "Optimizer",
    "Rule",
    "available_backends",
    "emit",
    "export",
    "get_backend",
    "rules",
    "schedules",
    "use_backend",
]
__all__ += optimizers.__all__
