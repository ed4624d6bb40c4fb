"""The formulas of the papers, for the oracle: `FORMULAS`, by the name of the rule.

Written afresh from the papers and from what the accepted references say; nothing here comes from
the rules. A formula takes one step of one tensor:

    formula(h, t, p, g, s) -> new p

``h`` has the hyperparameters and options as attributes, ``t`` counts the tensor's steps from 1,
``p`` and ``g`` are object arrays of arbitrary-precision numbers, of the tensor's shape (a single
number is a vector of one), and ``s`` is the state by name, changed in place; what is not in it yet
counts as zero.
"""

from . import (
    averages,
    classical,
    low_rank,
    matrices,
    parts,
    projections,
    since_adam,
    square_states,
    totals,
)

_BY_NAME = (averages, classical, low_rank, matrices, projections, since_adam, square_states, totals)
FORMULAS = {
    name: function
    for module in _BY_NAME
    for name, function in vars(module).items()
    if getattr(function, "__module__", None) == module.__name__
} | parts.FORMULAS
