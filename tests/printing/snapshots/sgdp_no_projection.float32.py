"""sgdp_no_projection: fused update of float32 parameters with float32 gradients.

Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights,
arXiv:2006.08217, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of momentum_buffer.
A line of `rows` holds delta, wd_ratio, least, momentum, undamped, of_buffer, of_grad, step_size,
decay, grad_coefficient.
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
def sgdp_no_projection_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        momentum_buffers = carray(pointer(table[chunk, 4], np.float32), n)
        momentum = rows[row, 3]
        undamped = rows[row, 4]
        of_buffer = rows[row, 5]
        of_grad = rows[row, 6]
        step_size = rows[row, 7]
        decay = rows[row, 8]
        grad_coefficient = rows[row, 9]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            momentum_buffer = momentum_buffers[i]
            momentum_buffer = momentum * momentum_buffer + undamped * grad
            direction = of_buffer * momentum_buffer + of_grad * grad
            delta = step_size * direction + decay * finite_or_zero(param)
            params[i] = param - delta
            momentum_buffers[i] = momentum_buffer
