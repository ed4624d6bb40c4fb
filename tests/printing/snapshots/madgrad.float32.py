"""madgrad: fused update of float32 parameters with float32 gradients.

Defazio & Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient
Method for Stochastic Optimization, arXiv:2101.11075, Algorithm 1.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of grad_sum, address of grad_sum_sq, address of moved.
A line of `rows` holds weight, toward, eps, weight_decay, grad_coefficient.
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
def cube_root(x):
    root = sqrt(x)
    near = sqrt(root)
    for _ in range(4):
        near = sqrt(sqrt(near) * root)
    inverse = float32(1) / near
    for _ in range(4):
        off = float32(1) - x * inverse * inverse * inverse
        inverse = inverse + inverse * (off * (float32(1 / 3) + float32(2 / 9) * off))
    near = x * inverse * inverse
    near = near + near * ((float32(1) - near * inverse) * float32(2 / 3))
    return x if finite_or_zero(x) == float32(0) else near


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def madgrad_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        grad_sums = carray(pointer(table[chunk, 4], np.float32), n)
        grad_sum_sqs = carray(pointer(table[chunk, 5], np.float32), n)
        moveds = carray(pointer(table[chunk, 6], np.float32), n)
        weight = rows[row, 0]
        toward = rows[row, 1]
        eps = rows[row, 2]
        weight_decay = rows[row, 3]
        grad_coefficient = rows[row, 4]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            grad_sum = grad_sums[i]
            grad_sum_sq = grad_sum_sqs[i]
            moved = moveds[i]
            grad = grad + weight_decay * finite_or_zero(param)
            grad_sum = grad_sum + weight * grad
            grad_sum_sq = grad_sum_sq + weight * (grad * grad)
            denom = cube_root(grad_sum_sq) + eps
            change = toward * (moved + (float32(0) if denom == float32(0) else grad_sum / denom))
            params[i] = param - change
            grad_sums[i] = grad_sum
            grad_sum_sqs[i] = grad_sum_sq
            moveds[i] = moved - change
