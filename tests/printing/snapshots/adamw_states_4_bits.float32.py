"""adamw: fused update of float32 parameters with float32 gradients.
States: exp_avg in int4; exp_avg_sq in uint4.

Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.

Printed by samestep from the rule's own text; do not edit.
A line of `table` is a chunk: row of `rows` (negative: skip), length, address of param, address of
grad, address of exp_avg, address of exp_avg_scale, address of exp_avg_sq, address of
exp_avg_sq_scale.
A line of `rows` holds beta1, rest1, beta2, rest2, step_size, scaled_eps, decay, grad_coefficient.
"""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import float32, uint64

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
def from_root(code, scale, most):
    """The element of a code: its part of the scale is the square of the code's part of the most."""
    root = np.float32(code) * (np.float32(1) / most)
    return root * abs(root) * scale


@njit(**options)
def scale_of_values(values, count, mask):
    """The scale of a block of `count` values. It is zero if all are below the normal numbers, NaN if
    one is not finite or has a sign that the mask keeps."""
    top = np.uint32(0)
    for lane in range(count):
        bits = np.float32(values[uint64(lane)] + np.float32(0)).view(np.uint32)
        top = max(top, np.uint32(bits & mask))
    good = top >= np.uint32(0x00800000) and top < np.uint32(0x7F800000)
    scale = np.uint32(top).view(np.float32) if good else np.float32(0)
    return scale if top < np.uint32(0x7F800000) else np.float32(np.nan)


@njit(**options)
def store_block(values, count, codes, start, scales, first, size, most, mask):
    """Store a block of `count` values, which begins at element `first`, as codes from `start` on,
    rounded roots, and a scale. Where there is no sign, nothing above 0 becomes 0."""
    scale = scale_of_values(values, count, mask)
    scales[uint64(first // size)] = scale
    good = scale > np.float32(0)
    inverse = np.float32(1) / scale if good else np.float32(0)
    # told by `most`, not by the mask: only so LLVM makes a loop without it where there is a sign
    unsigned = most == np.float32(255) or most == np.float32(15)
    least = np.float32(1) if good and unsigned else np.float32(0)
    for lane in range(count):
        value = values[uint64(lane)]
        part = value * inverse if good else np.float32(0)
        root = max(most * sqrt(abs(part)), least if value > np.float32(0) else np.float32(0))
        shifted = (root if part >= np.float32(0) else -root) + np.float32(12582912)  # rounds it
        codes[uint64(start + lane)] = np.float32(shifted).view(np.int32) & np.int32(0xFF)


@njit(**options)
def unpack(pairs, start, count, codes, flip):
    """The codes of 4 bits of `count` elements from `start` on, which are two in a byte, the first one
    in its upper half, each on its own. `flip` is 8 where they have a sign, else 0."""
    for k in range((count + 1) >> 1):
        pair = np.int64(pairs[uint64((start >> 1) + k)])
        codes[uint64(2 * k)] = ((pair >> 4) ^ flip) - flip
        codes[uint64(2 * k + 1)] = ((pair & 15) ^ flip) - flip


@njit(**options)
def pack(codes, count, pairs, start):
    """Put `count` codes of 4 bits two in a byte. Half a byte that is left is 0."""
    if count & 1:
        codes[uint64(count)] = 0
    for k in range((count + 1) >> 1):
        pair = (codes[uint64(2 * k)] & 15) << 4 | (codes[uint64(2 * k + 1)] & 15)
        pairs[uint64((start >> 1) + k)] = pair


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def adamw_update(table, rows, first, last):
    new_exp_avg = np.empty(128, float32)
    new_exp_avg_sq = np.empty(128, float32)
    exp_avg_codes = np.empty(128, np.int8)
    exp_avg_sq_codes = np.empty(128, np.int8)
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.uint8), (n + 1) // 2)
        exp_avg_scales = carray(pointer(table[chunk, 5], np.float32), (n + 127) // 128)
        exp_avg_sqs = carray(pointer(table[chunk, 6], np.uint8), (n + 1) // 2)
        exp_avg_sq_scales = carray(pointer(table[chunk, 7], np.float32), (n + 127) // 128)
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        step_size = rows[row, 4]
        scaled_eps = rows[row, 5]
        decay = rows[row, 6]
        grad_coefficient = rows[row, 7]
        for start in range(0, n, 128):
            exp_avg_scale = exp_avg_scales[uint64(start // 128)]
            exp_avg_sq_scale = exp_avg_sq_scales[uint64(start // 128)]
            count = min(128, n - start)
            unpack(exp_avgs, start, count, exp_avg_codes, 8)
            unpack(exp_avg_sqs, start, count, exp_avg_sq_codes, 0)
            for lane in range(count):
                i = uint64(start + lane)
                param = params[i]
                grad = grad_coefficient * grads[i]
                exp_avg = from_root(exp_avg_codes[uint64(lane)], exp_avg_scale, float32(7))
                exp_avg_sq = from_root(exp_avg_sq_codes[uint64(lane)], exp_avg_sq_scale, float32(15))
                exp_avg = beta1 * exp_avg + rest1 * grad
                exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
                denom = sqrt(exp_avg_sq) + scaled_eps
                delta = step_size * (exp_avg / denom)
                params[i] = param - (delta + decay * finite_or_zero(param))
                new_exp_avg[uint64(lane)] = exp_avg
                new_exp_avg_sq[uint64(lane)] = exp_avg_sq
            store_block(new_exp_avg, count, exp_avg_codes, 0, exp_avg_scales, start, 128, float32(7), np.uint32(0x7fffffff))
            pack(exp_avg_codes, count, exp_avgs, start)
            store_block(new_exp_avg_sq, count, exp_avg_sq_codes, 0, exp_avg_sq_scales, start, 128, float32(15), np.uint32(0xffffffff))
            pack(exp_avg_sq_codes, count, exp_avg_sqs, start)
