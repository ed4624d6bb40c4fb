"""samestep: one rule, every backend, the same step.

>>> import samestep as ss
>>> opt = ss.AdamW(params, lr=1e-3)
>>> opt.step(grads)
"""

import importlib
import typing

import numpy as _numpy  # noqa: F401 (first: imported from deep inside it takes 12 ms longer)

from . import parts, rules
from .choice import available_backends, get_backend, use_backend
from .language.intervals import Interval
from .language.rule import Rule
from .optimizers import classes, functional  # noqa: F401 (which gives rules init and apply)
from .optimizers.classes import *  # noqa: F403 (a class for every built-in rule)
from .optimizers.minimize import OptimizeResult, minimize
from .optimizers.optimizer import Optimizer
from .printing.emit import emit
from .printing.export import export
from .quasi_newton.lbfgs import LBFGS
from .quasi_newton.progress import Progress
from .step.indexed_slices import IndexedSlices
from .step.loss_scaler import LossScaler
from .version import __version__

if typing.TYPE_CHECKING:
    from . import schedules
    from .checkpoint import CheckpointError
else:

    def __getattr__(name):
        """Import what not everybody needs when it is asked for."""
        if name == "schedules":
            return importlib.import_module(".schedules", __name__)
        if name == "CheckpointError":
            return importlib.import_module(".checkpoint", __name__).CheckpointError
        from .language.names import suggestion  # for errors only

        hint = "" if name.startswith("_") else suggestion(name, [*__all__, "Adam(amsgrad=True)"])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; {hint}".strip("; "))

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "LBFGS",
    "CheckpointError",
    "IndexedSlices",
    "Interval",
    "LossScaler",
    "OptimizeResult",
    "Optimizer",
    "Progress",
    "Rule",
    "__version__",
    "available_backends",
    "emit",
    "export",
    "get_backend",
    "minimize",
    "parts",
    "rules",
    "schedules",
    "use_backend",
]
__all__ += classes.__all__
