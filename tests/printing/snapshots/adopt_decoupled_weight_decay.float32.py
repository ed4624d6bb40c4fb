"""adopt_decoupled_weight_decay: fused update of float32 parameters with float32 gradients.

Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate,
arXiv:2411.02853, Algorithm 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_sq.
A line of `rows` holds lr, beta1, rest1, keep, take, eps, limit, weight_decay, decay,
grad_coefficient.
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


@njit(**options)
def maximum(a, b):
    return a if a != a else (b if b != b else (a if a > b else b))


@njit(**options)
def minimum(a, b):
    return a if a != a else (b if b != b else (a if a < b else b))


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def adopt_decoupled_weight_decay_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        exp_avg_sqs = carray(pointer(table[chunk, 5], np.float32), n)
        lr = rows[row, 0]
        beta1 = rows[row, 1]
        rest1 = rows[row, 2]
        keep = rows[row, 3]
        take = rows[row, 4]
        eps = rows[row, 5]
        limit = rows[row, 6]
        decay = rows[row, 8]
        grad_coefficient = rows[row, 9]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            exp_avg = exp_avgs[i]
            exp_avg_sq = exp_avg_sqs[i]
            normalized = grad / maximum(sqrt(exp_avg_sq), eps)
            clipped = minimum(maximum(normalized, (-limit)), limit)
            exp_avg = beta1 * exp_avg + rest1 * clipped
            exp_avg_sq = keep * exp_avg_sq + take * (grad * grad)
            delta = lr * exp_avg
            params[i] = param - (delta + decay * finite_or_zero(param))
            exp_avgs[i] = exp_avg
            exp_avg_sqs[i] = exp_avg_sq
