"""adagrad: fused update of float32 parameters with float32 gradients.

Duchi, Hazan & Singer, Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization, JMLR 12:2121-2159, 2011, Figure 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of sum.
A line of `rows` holds step_size, eps, weight_decay, grad_coefficient.
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
def adagrad_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        sums = carray(pointer(table[chunk, 4], np.float32), n)
        step_size = rows[row, 0]
        eps = rows[row, 1]
        weight_decay = rows[row, 2]
        grad_coefficient = rows[row, 3]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            sum_2 = sums[i]
            grad = grad + weight_decay * finite_or_zero(param)
            sum_3 = sum_2 + grad * grad
            delta = step_size * (grad / (sqrt(sum_3) + eps))
            params[i] = param - delta
            sums[i] = sum_3
