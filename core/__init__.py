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
from .optimizers.optimizer import Optimizer
from .step.indexed_slices import IndexedSlices
from .step.loss_scaler import LossScaler
from .version import __version__

if typing.TYPE_CHECKING:
    from . import schedules
    from .checkpoint import CheckpointError
    from .optimizers.classes import *  # noqa: F403 (a class for every built-in rule)
    from .optimizers.minimize import OptimizeResult, minimize
    from .printing.emit import emit
    from .printing.export import export
    from .quasi_newton.lbfgs import LBFGS
    from .quasi_newton.progress import Progress
else:
    _MODULES = {
        **dict.fromkeys(classes.__all__, "samestep.optimizers.classes"),
        "CheckpointError": "samestep.checkpoint",
        "LBFGS": "samestep.quasi_newton.lbfgs",
        "OptimizeResult": "samestep.optimizers.minimize",
        "Progress": "samestep.quasi_newton.progress",
        "emit": "samestep.printing.emit",
        "export": "samestep.printing.export",
        "minimize": "samestep.optimizers.minimize",
        "schedules": "samestep.schedules",
    }

    def __getattr__(name):
        """Import what not everybody needs when it is asked for, and keep it."""
        if name not in _MODULES:
            from .language.names import suggestion  # for errors only

            hint = "" if name[0] == "_" else suggestion(name, [*__all__, "Adam(amsgrad=True)"])
            what = f"module {__name__!r} has no attribute {name!r}; {hint}"
            raise AttributeError(what.strip("; "))
        module = importlib.import_module(_MODULES[name])
        found = globals()[name] = module if name == "schedules" else getattr(module, name)
        return found

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
