"""apollo_mini_no_projected: fused update of float32 parameters with float32 gradients.

Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_sq.
A line of `rows` holds beta1, rest1, beta2, rest2, eps, step_size, decay, grad_coefficient.
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
def apollo_mini_no_projected_update(table, rows, first, last):
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
        eps = rows[row, 4]
        step_size = rows[row, 5]
        decay = rows[row, 6]
        grad_coefficient = rows[row, 7]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            exp_avg = exp_avgs[i]
            exp_avg_sq = exp_avg_sqs[i]
            exp_avg = beta1 * exp_avg + rest1 * grad
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
            direction = exp_avg / (sqrt(exp_avg_sq) + eps)
            delta = step_size * direction
            params[i] = param - (delta + decay * finite_or_zero(param))
            exp_avgs[i] = exp_avg
            exp_avg_sqs[i] = exp_avg_sq
