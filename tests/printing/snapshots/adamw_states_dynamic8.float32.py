"""adamw: fused update of float32 parameters with float32 gradients.
States: exp_avg in dynamic8; exp_avg_sq in udynamic8.

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

dynamic8_map = np.array([
    -0.99296874, -0.9789063, -0.96484375, -0.9507812, -0.93671876, -0.92265624, -0.9085938,
    -0.89453125, -0.8804687, -0.86640626, -0.85234374, -0.8382813, -0.82421875, -0.8101562,
    -0.79609376, -0.78203124, -0.7679688, -0.75390625, -0.7398437, -0.72578126, -0.7117188,
    -0.6976563, -0.68359375, -0.6695312, -0.65546876, -0.6414063, -0.6273438, -0.61328125,
    -0.5992187, -0.58515626, -0.5710938, -0.5570313, -0.54296875, -0.5289062, -0.5148437,
    -0.50078124, -0.4867187, -0.47265625, -0.45859373, -0.44453126, -0.43046874, -0.41640624,
    -0.40234375, -0.38828123, -0.37421876, -0.36015624, -0.34609374, -0.33203125, -0.31796873,
    -0.30390626, -0.28984374, -0.27578127, -0.26171875, -0.24765624, -0.23359375, -0.21953125,
    -0.20546874, -0.19140625, -0.17734376, -0.16328125, -0.14921875, -0.13515624, -0.12109375,
    -0.107031256, -0.09859375, -0.09578126, -0.092968754, -0.09015625, -0.08734375, -0.08453125,
    -0.08171876, -0.07890625, -0.07609375, -0.07328125, -0.070468746, -0.067656256, -0.06484375,
    -0.06203125, -0.059218753, -0.05640625, -0.05359375, -0.05078125, -0.04796875, -0.04515625,
    -0.042343747, -0.03953125, -0.036718752, -0.03390625, -0.03109375, -0.028281251, -0.02546875,
    -0.02265625, -0.019843752, -0.01703125, -0.01421875, -0.01140625, -0.00971875, -0.009156249,
    -0.00859375, -0.00803125, -0.00746875, -0.00690625, -0.00634375, -0.00578125, -0.0052187503,
    -0.0046562497, -0.00409375, -0.0035312497, -0.00296875, -0.00240625, -0.00184375,
    -0.0012812499, -0.0009437501, -0.00083125, -0.00071875006, -0.0006062501, -0.00049375003,
    -0.00038125002, -0.00026875004, -0.00015625001, -8.875e-05, -6.625e-05, -4.375e-05,
    -2.1249998e-05, -7.75e-06, -3.2500002e-06, -5.5000004e-07, 0.0, 5.5000004e-07, 3.2500002e-06,
    7.75e-06, 2.1249998e-05, 4.375e-05, 6.625e-05, 8.875e-05, 0.00015625001, 0.00026875004,
    0.00038125002, 0.00049375003, 0.0006062501, 0.00071875006, 0.00083125, 0.0009437501,
    0.0012812499, 0.00184375, 0.00240625, 0.00296875, 0.0035312497, 0.00409375, 0.0046562497,
    0.0052187503, 0.00578125, 0.00634375, 0.00690625, 0.00746875, 0.00803125, 0.00859375,
    0.009156249, 0.00971875, 0.01140625, 0.01421875, 0.01703125, 0.019843752, 0.02265625,
    0.02546875, 0.028281251, 0.03109375, 0.03390625, 0.036718752, 0.03953125, 0.042343747,
    0.04515625, 0.04796875, 0.05078125, 0.05359375, 0.05640625, 0.059218753, 0.06203125,
    0.06484375, 0.067656256, 0.070468746, 0.07328125, 0.07609375, 0.07890625, 0.08171876,
    0.08453125, 0.08734375, 0.09015625, 0.092968754, 0.09578126, 0.09859375, 0.107031256,
    0.12109375, 0.13515624, 0.14921875, 0.16328125, 0.17734376, 0.19140625, 0.20546874,
    0.21953125, 0.23359375, 0.24765624, 0.26171875, 0.27578127, 0.28984374, 0.30390626,
    0.31796873, 0.33203125, 0.34609374, 0.36015624, 0.37421876, 0.38828123, 0.40234375,
    0.41640624, 0.43046874, 0.44453126, 0.45859373, 0.47265625, 0.4867187, 0.50078124, 0.5148437,
    0.5289062, 0.54296875, 0.5570313, 0.5710938, 0.58515626, 0.5992187, 0.61328125, 0.6273438,
    0.6414063, 0.65546876, 0.6695312, 0.68359375, 0.6976563, 0.7117188, 0.72578126, 0.7398437,
    0.75390625, 0.7679688, 0.78203124, 0.79609376, 0.8101562, 0.82421875, 0.8382813, 0.85234374,
    0.86640626, 0.8804687, 0.89453125, 0.9085938, 0.92265624, 0.93671876, 0.9507812, 0.96484375,
    0.9789063, 0.99296874, 1.0
], np.float32)

udynamic8_map = np.array([
    0.0, 3.2500003e-07, 7.75e-07, 2.1249998e-06, 4.3749997e-06, 6.625e-06, 8.874999e-06,
    1.5624999e-05, 2.6875001e-05, 3.8125e-05, 4.9374998e-05, 6.0625003e-05, 7.1875e-05,
    8.312499e-05, 9.4375e-05, 0.000128125, 0.000184375, 0.00024062501, 0.00029687502,
    0.00035312498, 0.00040937503, 0.00046562502, 0.00052187504, 0.000578125, 0.000634375,
    0.00069062505, 0.000746875, 0.0008031251, 0.00085937505, 0.000915625, 0.00097187504,
    0.001140625, 0.001421875, 0.001703125, 0.001984375, 0.002265625, 0.0025468748, 0.002828125,
    0.0031093748, 0.0033906251, 0.003671875, 0.003953125, 0.0042343745, 0.004515625, 0.0047968747,
    0.005078125, 0.005359375, 0.0056406246, 0.005921875, 0.0062031248, 0.006484375, 0.0067656254,
    0.0070468746, 0.007328125, 0.0076093744, 0.007890625, 0.008171875, 0.008453124, 0.008734375,
    0.009015624, 0.0092968745, 0.009578126, 0.009859375, 0.010703126, 0.012109376, 0.013515624,
    0.014921876, 0.016328124, 0.017734377, 0.019140625, 0.020546874, 0.021953126, 0.023359375,
    0.024765624, 0.026171876, 0.027578129, 0.028984373, 0.030390626, 0.031796873, 0.033203125,
    0.034609374, 0.036015626, 0.03742188, 0.038828123, 0.040234376, 0.041640624, 0.043046873,
    0.044453125, 0.045859374, 0.047265626, 0.04867187, 0.050078124, 0.051484372, 0.052890625,
    0.054296877, 0.05570313, 0.057109382, 0.058515627, 0.059921872, 0.061328124, 0.06273438,
    0.06414063, 0.06554688, 0.06695312, 0.068359375, 0.06976563, 0.07117188, 0.072578125,
    0.07398438, 0.07539063, 0.07679688, 0.07820313, 0.07960938, 0.081015624, 0.08242188,
    0.08382813, 0.085234374, 0.086640626, 0.08804687, 0.08945312, 0.090859376, 0.09226563,
    0.09367188, 0.095078126, 0.09648438, 0.09789063, 0.099296875, 0.103515625, 0.11054687,
    0.11757813, 0.12460937, 0.13164061, 0.13867188, 0.14570314, 0.15273437, 0.15976563,
    0.16679686, 0.17382812, 0.18085939, 0.18789062, 0.19492188, 0.20195311, 0.20898438,
    0.21601564, 0.22304687, 0.23007813, 0.23710936, 0.24414062, 0.25117186, 0.25820312,
    0.26523438, 0.2722656, 0.27929688, 0.28632814, 0.29335937, 0.3003906, 0.30742186, 0.31445312,
    0.3214844, 0.32851562, 0.33554685, 0.3425781, 0.34960938, 0.35664064, 0.36367187, 0.3707031,
    0.37773436, 0.38476562, 0.3917969, 0.39882812, 0.40585935, 0.4128906, 0.41992188, 0.42695314,
    0.43398437, 0.4410156, 0.44804686, 0.45507812, 0.4621094, 0.46914062, 0.47617185, 0.4832031,
    0.49023438, 0.4972656, 0.5042969, 0.5113281, 0.51835936, 0.5253906, 0.5324218, 0.53945315,
    0.54648435, 0.5535157, 0.5605469, 0.56757814, 0.5746094, 0.5816406, 0.5886719, 0.5957031,
    0.6027344, 0.60976565, 0.61679685, 0.6238282, 0.6308594, 0.63789064, 0.6449219, 0.6519531,
    0.6589844, 0.6660156, 0.6730469, 0.68007815, 0.68710935, 0.6941407, 0.7011719, 0.70820314,
    0.7152344, 0.7222656, 0.7292969, 0.7363281, 0.7433594, 0.75039065, 0.75742185, 0.7644532,
    0.7714844, 0.7785156, 0.7855469, 0.7925781, 0.7996094, 0.8066406, 0.8136718, 0.82070315,
    0.82773435, 0.8347657, 0.8417969, 0.8488281, 0.8558594, 0.8628906, 0.8699219, 0.8769531,
    0.8839843, 0.89101565, 0.89804685, 0.9050782, 0.9121094, 0.9191406, 0.9261719, 0.9332031,
    0.9402344, 0.9472656, 0.9542968, 0.96132815, 0.96835935, 0.9753907, 0.9824219, 0.9894531,
    0.9964844, 1.0
], np.float32)


@njit(**options)
def finite_or_zero(x):
    return x if x - x == float32(0) else float32(0)


@njit(**options)
def from_map(code, scale, values):
    """The element of a code: its part of the scale is the map's value of that number."""
    return values[uint64(code)] * scale


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
def store_mapped_block(values, count, codes, start, scales, first, size, map_values, mask):
    """Store a block of `count` values, which begins at element `first`, as codes from `start` on, the
    numbers of the map's nearest values, and a scale."""
    scale = scale_of_values(values, count, mask)
    scales[uint64(first // size)] = scale
    good = scale > np.float32(0)
    inverse = np.float32(1) / scale if good else np.float32(0)
    for lane in range(count):
        part = values[uint64(lane)] * inverse if good else np.float32(0)
        below = uint64(0)  # the last value that is not above the part
        for level in range(8):
            bit = uint64(128 >> level)
            below += bit if part >= map_values[below + bit] else uint64(0)
        above = min(below + uint64(1), uint64(255))
        low = map_values[below]
        nearer = part - low >= (map_values[above] - low) * np.float32(0.5)
        codes[uint64(start + lane)] = above if nearer else below


@njit("void(int64[:, ::1], float32[:, ::1], int64, int64)", **options)
def adamw_update(table, rows, first, last):
    new_exp_avg = np.empty(256, float32)
    new_exp_avg_sq = np.empty(256, float32)
    for chunk in range(first, last):
        row, n = table[chunk, 0], table[chunk, 1]
        if row < 0:
            continue
        params = carray(pointer(table[chunk, 2], np.float32), n)
        grads = carray(pointer(table[chunk, 3], np.float32), n)
        exp_avgs = carray(pointer(table[chunk, 4], np.uint8), n)
        exp_avg_scales = carray(pointer(table[chunk, 5], np.float32), (n + 255) // 256)
        exp_avg_sqs = carray(pointer(table[chunk, 6], np.uint8), n)
        exp_avg_sq_scales = carray(pointer(table[chunk, 7], np.float32), (n + 255) // 256)
        beta1 = rows[row, 0]
        rest1 = rows[row, 1]
        beta2 = rows[row, 2]
        rest2 = rows[row, 3]
        step_size = rows[row, 4]
        scaled_eps = rows[row, 5]
        decay = rows[row, 6]
        grad_coefficient = rows[row, 7]
        for start in range(0, n, 256):
            exp_avg_scale = exp_avg_scales[uint64(start // 256)]
            exp_avg_sq_scale = exp_avg_sq_scales[uint64(start // 256)]
            count = min(256, n - start)
            for lane in range(count):
                i = uint64(start + lane)
                param = params[i]
                grad = grad_coefficient * grads[i]
                exp_avg = from_map(exp_avgs[i], exp_avg_scale, dynamic8_map)
                exp_avg_sq = from_map(exp_avg_sqs[i], exp_avg_sq_scale, udynamic8_map)
                exp_avg = beta1 * exp_avg + rest1 * grad
                exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad)
                denom = sqrt(exp_avg_sq) + scaled_eps
                delta = step_size * (exp_avg / denom)
                params[i] = param - (delta + decay * finite_or_zero(param))
                new_exp_avg[uint64(lane)] = exp_avg
                new_exp_avg_sq[uint64(lane)] = exp_avg_sq
            store_mapped_block(new_exp_avg, count, exp_avgs, start, exp_avg_scales, start, 256, dynamic8_map, np.uint32(0x7fffffff))
            store_mapped_block(new_exp_avg_sq, count, exp_avg_sqs, start, exp_avg_sq_scales, start, 256, udynamic8_map, np.uint32(0xffffffff))
