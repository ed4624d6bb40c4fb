"""A rule's update subtracts a delta from the parameter; it is made here from that delta.

Most rules come to ``param - delta``. One that is written as its ``delta``, without weight decay,
can be composed: `samestep.parts` has functions that change the gradient before it, the delta after
it, or the decay beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .results import as_tuple


def descent(compute: Callable[..., Any], decay: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return the update that subtracts a rule's delta and its decay from the parameter.

    ``compute(xp, s, param, grad, *state) -> (delta, *state)``; ``decay(xp, s, param, delta)`` is
    what weight decay subtracts besides, in the same rounding.
    """
    if decay is None:

        @functools.wraps(compute)
        def update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
            delta, *after = as_tuple(compute(xp, s, param, grad, *state))
            return (param - delta, *after)

        update.of_delta = True  # type: ignore[attr-defined]
        return update

    @functools.wraps(compute)
    def decayed_update(xp: Any, s: Any, param: Any, grad: Any, *state: Any) -> Any:
        delta, *after = as_tuple(compute(xp, s, param, grad, *state))
        return (param - (delta + decay(xp, s, param, delta)), *after)

    decayed_update.of_delta = True  # type: ignore[attr-defined]
    return decayed_update
