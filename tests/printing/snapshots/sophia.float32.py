"""sophia: fused update of float32 parameters with float32 gradients.

Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training,
arXiv:2305.14342, Algorithm 3.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of hessian.
A line of `rows` holds lr, beta1, rest1, rho, eps, decay, grad_coefficient.
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
def sophia_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        hessians = carray(pointer(table[chunk, 5], np.float32), n)
        lr = rows[row, 0]
        beta1 = rows[row, 1]
        rest1 = rows[row, 2]
        rho = rows[row, 3]
        eps = rows[row, 4]
        decay = rows[row, 5]
        grad_coefficient = rows[row, 6]
        for i in range(n):
            param = params[i]
            grad = grad_coefficient * grads[i]
            exp_avg = exp_avgs[i]
            hessian = hessians[i]
            exp_avg = beta1 * exp_avg + rest1 * grad
            ratio = exp_avg / maximum(rho * hessian, eps)
            delta = lr * maximum(minimum(ratio, float32(1)), float32(-1))
            params[i] = param - (delta + decay * finite_or_zero(param))
            exp_avgs[i] = exp_avg
