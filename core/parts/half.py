"""Parts for parameters of 16 bits: what rounding loses of an update is kept.

bfloat16 has numbers 1/128 apart above 1, so an update of 1e-3 is lost where the parameter is
stored. Both parts compute with the exact value and store it rounded.
"""

from __future__ import annotations

import functools

from ..language.composition import around, part
from ..language.results import as_tuple
from ..language.rule import Rule


@part
def float32_master(rule: Rule) -> Rule:
    """Return ``rule`` on a float32 parameter, kept as the state ``master``, that is stored in 16
    bits.

    Micikevicius et al., Mixed Precision Training, arXiv:1710.03740, section 3.1. Where another
    value was written into the parameter since the last step, as before the first one, the master
    takes it.
    """

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, master = state
        master = xp.where(xp.stored(master) == param, master, param)
        master, *own = as_tuple(rule.update(xp, s, master, grad, *own))
        return (master, *own, master)

    return around(rule, "master", "float32", update, states=("master",), codec=None)


@part
def split_master(rule: Rule) -> Rule:
    """Return ``rule`` on a float32 parameter whose upper half, rounded to nearest, is the bfloat16
    parameter; the state ``remainder``, of int16, is the lower half.

    So the two have the bits of a float32 master in the memory of one float32. As many numbers are
    nearest to each bfloat16 as int16 has only if ties go one way, away from zero; those are where
    the parameter differs from one that is rounded to nearest even.
    """

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, remainder = state
        master = xp.from_halves(param, remainder)
        master, *own = as_tuple(rule.update(xp, s, master, grad, *own))
        return (xp.upper_half(master), *own, xp.lower_half(master))

    return around(rule, "master", "split", update, states=("remainder",), codec="int16")


@part
def compensated(rule: Rule) -> Rule:
    """Return ``rule`` with what rounding takes from a 16-bit parameter kept as the state ``lost``,
    of bfloat16, which the next step adds.

    Kahan, Further Remarks on Reducing Truncation Errors, CACM 8(1), 1965, 40. What does not belong
    to the parameter is dropped: another value was written into it since the last step.
    """

    @functools.wraps(rule.update)
    def update(xp, s, param, grad, *state):
        *own, lost = state
        # half of it, since rounded to bfloat16 it may be as large as what rounds to a neighbour
        lost = xp.where(xp.stored(param + 0.5 * lost) == param, lost, 0)
        param, *own = as_tuple(rule.update(xp, s, param + lost, grad, *own))
        # an infinite parameter loses nothing; inf - inf would make it NaN
        lost = xp.finite_or_zero(param - xp.stored(param))
        return (param, *own, lost)

    return around(rule, "compensated", True, update, states=("lost",), codec="bfloat16")
