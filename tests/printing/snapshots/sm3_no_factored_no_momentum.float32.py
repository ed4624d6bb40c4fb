"""sm3_no_factored_no_momentum: fused update of float32 parameters with float32 gradients.

Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm SM3-II.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of accumulator.
A line of `rows` holds lr, beta2, rest2, eps, grad_coefficient.
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


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def sm3_no_factored_no_momentum_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        accumulators = carray(pointer(table[chunk, 4], np.float32), n)
        lr = rows[row, 0]
        beta2 = rows[row, 1]
        rest2 = rows[row, 2]
        eps = rows[row, 3]
        grad_coefficient = rows[row, 4]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            accumulator = accumulators[i]
            accumulator = beta2 * accumulator + rest2 * (grad * grad)
            direction = grad / sqrt(accumulator + eps)
            delta = lr * direction
            params[i] = param - delta
            accumulators[i] = accumulator
