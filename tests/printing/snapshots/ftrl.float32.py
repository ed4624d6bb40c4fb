"""ftrl: fused update of float32 parameters with float32 gradients.

McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of accumulator, address of linear.
A line of `rows` holds lr, inverse_lr, l1, least, grad_coefficient.
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
def ftrl_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        accumulators = carray(pointer(table[chunk, 4], np.float32), n)
        linears = carray(pointer(table[chunk, 5], np.float32), n)
        lr = rows[row, 0]
        inverse_lr = rows[row, 1]
        l1 = rows[row, 2]
        least = rows[row, 3]
        grad_coefficient = rows[row, 4]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            accumulator = accumulators[i]
            linear = linears[i]
            finite = finite_or_zero(param)
            before = sqrt(accumulator)
            accumulator = accumulator + grad * grad
            root = sqrt(accumulator)
            growth = float32(0) if root == float32(0) else grad * grad / (root + before)
            linear = linear + (grad - inverse_lr * growth * finite)
            clipped = minimum(maximum(linear, (-l1)), l1)
            denom = root + least
            target = float32(0) if denom == float32(0) else lr * (clipped - linear) / denom
            delta = finite - target
            params[i] = param - delta
            accumulators[i] = accumulator
            linears[i] = linear
