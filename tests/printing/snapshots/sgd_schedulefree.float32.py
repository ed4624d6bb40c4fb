"""sgd_schedulefree: fused update of float32 parameters with float32 gradients.

Defazio et al., The Road Less Scheduled, arXiv:2405.15682, equations 1 to 3.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of z.
A line of `rows` holds first, toward_z, z_size, y_size, weight_decay, grad_coefficient.
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
def sgd_schedulefree_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        zs = carray(pointer(table[chunk, 4], np.float32), n)
        first_2 = rows[row, 0]
        toward_z = rows[row, 1]
        z_size = rows[row, 2]
        y_size = rows[row, 3]
        weight_decay = rows[row, 4]
        grad_coefficient = rows[row, 5]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            z = zs[i]
            direction = grad + weight_decay * finite_or_zero(param)
            z = param if first_2 > float32(0) else z
            step_2 = toward_z * (z - param) - y_size * direction
            params[i] = param + step_2 if finite_or_zero(param) == param else param
            zs[i] = z - z_size * direction if finite_or_zero(param) == param else param
