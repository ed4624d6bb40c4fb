"""adan: fused update of float32 parameters with float32 gradients.

Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models,
arXiv:2208.06677, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_diff, address of exp_avg_sq, address of last_grad.
A line of `rows` holds beta1, rest1, beta2, rest2, beta3, rest3, first, step_size, diff_size,
scaled_eps, decay, grad_coefficient.
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
def adan_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        exp_avg_diffs = carray(pointer(table[chunk, 5], np.float32), n)
        exp_avg_sqs = carray(pointer(table[chunk, 6], np.float32), n)
        last_grads = carray(pointer(table[chunk, 7], np.float32), n)
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        beta3 = rows[row, 4]
        rest3 = rows[row, 5]
        first_2 = rows[row, 6]
        step_size = rows[row, 7]
        diff_size = rows[row, 8]
        scaled_eps = rows[row, 9]
        decay = rows[row, 10]
        grad_coefficient = rows[row, 11]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            exp_avg = exp_avgs[i]
            exp_avg_diff = exp_avg_diffs[i]
            exp_avg_sq = exp_avg_sqs[i]
            last_grad = last_grads[i]
            diff = float32(0) if first_2 > float32(0) else grad - last_grad
            ahead = grad + beta2 * diff
            exp_avg = beta1 * exp_avg + rest1 * grad
            exp_avg_diff = beta2 * exp_avg_diff + rest2 * diff
            exp_avg_sq = beta3 * exp_avg_sq + rest3 * (ahead * ahead)
            step_2 = step_size * exp_avg + diff_size * exp_avg_diff
            delta = step_2 / (sqrt(exp_avg_sq) + scaled_eps)
            params[i] = param - (delta + decay * finite_or_zero(param))
            exp_avgs[i] = exp_avg
            exp_avg_diffs[i] = exp_avg_diff
            exp_avg_sqs[i] = exp_avg_sq
            last_grads[i] = grad
