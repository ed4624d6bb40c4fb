"""rmsprop: fused update of float32 parameters with float32 gradients.

Tieleman & Hinton, Lecture 6.5: rmsprop, Coursera 2012.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of square_avg.
A line of `rows` holds lr, alpha, rest, eps, weight_decay, momentum, grad_coefficient.
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
def rmsprop_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        square_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        lr = rows[row, 0]
        alpha = rows[row, 1]
        rest = rows[row, 2]
        eps = rows[row, 3]
        weight_decay = rows[row, 4]
        grad_coefficient = rows[row, 6]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            square_avg = square_avgs[i]
            grad = grad + weight_decay * finite_or_zero(param)
            square_avg = alpha * square_avg + rest * (grad * grad)
            delta = lr * (grad / (sqrt(square_avg) + eps))
            params[i] = param - delta
            square_avgs[i] = square_avg
