"""The choice of a backend: by argument, ``with`` block, environment variable or type of arrays.

This is the only file of the core that names backends, to import them when they are asked for.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .language.names import closest, suggestion
from .pages import see
from .protocol import Availability, Backend, too_old

BUILT_IN = {
    "numpy": "samestep.backends.numpy",
    "numba": "samestep.backends.numba",
    "cupy": "samestep.backends.cupy",
    "torch": "samestep.backends.torch",
}

# the package that an array's type comes from, and who updates such arrays: the first that can run
BEST_FOR = {
    "numpy": ("numba", "numpy"),
    "cupy": ("cupy",),
    "torch": ("torch",),
}

# what some call a backend, and the backends that may be meant
ELSEWHERE = {
    "cuda": ("cupy", "torch"), "gpu": ("cupy", "torch"), "cpu": ("numba", "numpy"),
    "pytorch": ("torch",),
}  # fmt: skip
AUTO = "auto"
VARIABLE = "SAMESTEP_BACKEND"
ARGUMENT = "backend"
BY_TYPE = "the type of the parameters"
OLDEST_NUMPY = (2, 0)  # which every backend needs
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


def backend_names() -> dict[str, str]:
    """Name to module of every known backend: the built-in ones and those of other packages
    (entry points of the group ``samestep.backends``)."""
    from importlib.metadata import entry_points  # slow to import

    others = {e.name: e.value for e in entry_points(group="samestep.backends")}
    return {**others, **BUILT_IN}


def available_backends() -> dict[str, Availability]:
    """For each known backend whether it can run here and, if not, why and what to install."""
    return {name: _availability(name) for name in backend_names()}


def _module(name: str) -> Any:
    return importlib.import_module(BUILT_IN.get(name) or backend_names()[name])


def _availability(name: str) -> Availability:
    if reason := too_old("NumPy", np.__version__, OLDEST_NUMPY):
        return Availability(name, False, reason, "update it with: pip install 'numpy>=2'")
    try:
        result: Availability = _module(name).availability()
    except Exception as error:
        if name in BUILT_IN:
            raise
        remedy = "update or remove the package that it comes from"
        return Availability(name, False, f"{type(error).__name__}: {error}", remedy)
    return result


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Optimizers constructed inside the ``with`` block run on the backend called ``name``."""
    _check_name(name, "use_backend")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def get_backend(name: str | None = None, arrays: Sequence[Any] = ()) -> Backend:
    """The backend called ``name``; without a name that of `use_backend`, of the environment
    variable ``SAMESTEP_BACKEND``, or the best one for the type of ``arrays``, in this order.

    ``"auto"`` is this best one, too: Numba for NumPy arrays, if it is installed. A backend that has
    several implementations takes one behind a colon: ``"torch:foreach"``.

    Raises
    ------
    ValueError
        For a name that no backend, or an implementation that this backend does not have.
    RuntimeError
        For a backend that cannot run here, saying why and what to install.
    """
    source, chosen = ARGUMENT, name
    if chosen is None:
        source, chosen = "use_backend", _chosen.get()
    if chosen is None:
        source, chosen = VARIABLE, os.environ.get(VARIABLE) or AUTO
    _check_name(chosen, source)
    if chosen == AUTO:
        source, chosen = BY_TYPE, _best_for(arrays)
    chosen, _, implementation = chosen.partition(":")
    status = _availability(chosen)
    if not status.available:
        said_by = "" if source == ARGUMENT else f", chosen by {source},"
        raise RuntimeError(
            f"backend {chosen!r}{said_by} cannot run here: {status.detail}; {status.install}"
            f"{see('explain/questions.md')}"
        )
    module = _module(chosen)
    given = (implementation, arrays) if hasattr(module, "IMPLEMENTATIONS") else ()
    backend: Backend = module.get_backend(*given)
    return backend


def _check_name(name: str, source: str) -> None:
    if name == AUTO or name in BUILT_IN:
        return
    base, colon, implementation = name.partition(":")
    if base not in BUILT_IN and base not in (known := list(backend_names())):  # slow to list
        meant = " or ".join(map(repr, ELSEWHERE.get(base) or filter(None, [closest(base, known)])))
        hint = f"did you mean {meant}? " if meant else ""
        raise ValueError(
            f"{source}={name!r}: no such backend; {hint}there are {', '.join(known)}; "
            f"{AUTO} is the best one for the type of the arrays"
        )
    if colon:
        available = getattr(_module(base), "IMPLEMENTATIONS", ())
        if implementation not in available:
            listed = ", ".join(f"{base}:{each}" for each in available) or "none to choose from"
            hint = suggestion(implementation, available)
            raise ValueError(f"{source}={name!r}: no such implementation; {hint}there are {listed}")


def _best_for(arrays: Sequence[Any]) -> str:
    packages = {base.__module__.split(".")[0] for a in arrays[:1] for base in type(a).__mro__}
    found = [names for package, names in BEST_FOR.items() if package in packages]
    names = found[0] if found else BEST_FOR["numpy"]
    return next((name for name in names if _availability(name).available), names[-1])
