"""signsgd: fused update of float32 parameters with float32 gradients.

Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems, arXiv:1802.04434,
Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad.
A line of `rows` holds lr, decay, grad_coefficient.
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
def sign(x):
    return float32(1) if x > float32(0) else (float32(-1) if x < float32(0) else x)


@njit(**options)
def finite_or_zero(x):
    return x if x - x == float32(0) else float32(0)


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def signsgd_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        lr = rows[row, 0]
        decay = rows[row, 1]
        grad_coefficient = rows[row, 2]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            delta = lr * sign(grad)
            params[i] = param - (delta + decay * finite_or_zero(param))
