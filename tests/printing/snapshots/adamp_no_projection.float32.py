"""adamp_no_projection: fused update of float32 parameters with float32 gradients.

Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights,
arXiv:2006.08217, Algorithm 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_sq.
A line of `rows` holds beta1, rest1, beta2, rest2, step_size, scaled_eps, delta, wd_ratio, least,
of_mean, of_grad, decay, grad_coefficient.
"""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import float32

options = dict(nogil=True, error_model="numpy", fastmath=False, cache=True)
sqrt = np.sqrt


@intrinsic
def pointer(typing, address, dtype):
    """An address as a pointer to elements of `dtype`."""
    signature = types.CPointer(dtype.dtype)(types.int64, dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, codegen


@njit(**options)
def finite_or_zero(x):
    return x if x - x == float32(0) else float32(0)


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def adamp_no_projection_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        exp_avg_sqs = carray(pointer(table[chunk, 5], np.float32), n)
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        step_size = rows[row, 4]
        scaled_eps = rows[row, 5]
        of_mean = rows[row, 9]
        of_grad = rows[row, 10]
        decay = rows[row, 11]
        grad_coefficient = rows[row, 12]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            exp_avg = exp_avgs[i]
            exp_avg_sq = exp_avg_sqs[i]
            exp_avg = beta1 * exp_avg + rest1 * grad
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
            denom = sqrt(exp_avg_sq) + scaled_eps
            direction = (of_mean * exp_avg + of_grad * grad) / denom
            delta = step_size * direction + decay * finite_or_zero(param)
            params[i] = param - delta
            exp_avgs[i] = exp_avg
            exp_avg_sqs[i] = exp_avg_sq
