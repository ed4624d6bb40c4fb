"""rprop: fused update of float32 parameters with float32 gradients.

Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
Algorithm, ICNN 1993.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of prev, address of step_size.
A line of `rows` holds eta_minus, eta_plus, smallest, largest, weight_decay, grad_coefficient.
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


@njit(**options)
def maximum(a, b):
    return a if a != a else (b if b != b else (a if a > b else b))


@njit(**options)
def minimum(a, b):
    return a if a != a else (b if b != b else (a if a < b else b))


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def rprop_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        prevs = carray(pointer(table[chunk, 4], np.float32), n)
        step_sizes = carray(pointer(table[chunk, 5], np.float32), n)
        eta_minus = rows[row, 0]
        eta_plus = rows[row, 1]
        smallest = rows[row, 2]
        largest = rows[row, 3]
        weight_decay = rows[row, 4]
        grad_coefficient = rows[row, 5]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            prev = prevs[i]
            step_size = step_sizes[i]
            grad = grad + weight_decay * finite_or_zero(param)
            agreement = sign(grad) * sign(prev)
            factor = eta_plus if agreement > float32(0) else (eta_minus if agreement < float32(0) else float32(1))
            step_size = minimum(maximum(step_size * factor, smallest), largest)
            grad = float32(0) if agreement < float32(0) else grad
            direction = float32(0) if grad != grad else sign(grad)
            delta = direction * step_size
            params[i] = param - delta
            prevs[i] = grad
            step_sizes[i] = step_size
