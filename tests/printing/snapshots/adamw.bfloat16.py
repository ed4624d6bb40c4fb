"""adamw: fused update of bfloat16 parameters with bfloat16 gradients.

Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_sq.
A line of `rows` holds beta1, rest1, beta2, rest2, step_size, scaled_eps, decay, grad_coefficient.
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


@intrinsic
def added(typing, a, b):
    """The sum in 32 bits: Numba's own has 64, of which a vector holds half as many."""
    signature = types.uint32(types.uint32, types.uint32)

    def codegen(context, builder, signature, args):
        return builder.add(*args)

    return signature, codegen


@njit(**options)
def from_bfloat16(bits):
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@njit(**options)
def to_bfloat16(x):
    """Round to nearest even; NaN stays NaN."""
    bits = np.float32(x).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = added(added(bits, np.uint32(0x7FFF)), np.uint32(odd)) >> np.uint32(16)
    return np.uint16((bits >> np.uint32(16)) | np.uint32(0x40)) if x != x else np.uint16(rounded)


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def adamw_update(table, rows, first, last):
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.uint16), n)
        grads = carray(pointer(table[chunk, 3], np.uint16), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.float32), n)
        exp_avg_sqs = carray(pointer(table[chunk, 5], np.float32), n)
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        step_size = rows[row, 4]
        scaled_eps = rows[row, 5]
        decay = rows[row, 6]
        grad_coefficient = rows[row, 7]
        for i in range(n):
            param = from_bfloat16(params[i])
            grad = grad_coefficient * from_bfloat16(grads[i])
            exp_avg = exp_avgs[i]
            exp_avg_sq = exp_avg_sqs[i]
            exp_avg = beta1 * exp_avg + rest1 * grad
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
            denom = sqrt(exp_avg_sq) + scaled_eps
            delta = step_size * (exp_avg / denom)
            params[i] = to_bfloat16(param - (delta + decay * finite_or_zero(param)))
            exp_avgs[i] = exp_avg
            exp_avg_sqs[i] = exp_avg_sq
