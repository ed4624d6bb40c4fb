/* adamw: update of float32 parameters with float32 gradients.
 * States: exp_avg in int4; exp_avg_sq in uint4.
 *
 * Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Every operation is rounded once, as IEEE 754 has it; say so to the compiler. */
#if FLT_EVAL_METHOD < 0 || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "needs exact IEEE arithmetic: no x87 (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "needs exact IEEE arithmetic: no -ffast-math nor a part of it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#ifdef __cplusplus
#define RESTRICT __restrict
extern "C" {
#else
#define RESTRICT restrict
#endif
#if defined(__GNUC__) && defined(__GLIBC__) /* no errno: loops with a root become SIMD code */
extern float sqrtf(float) __THROW __attribute__((__const__));
#endif
#ifndef SAMESTEP_API /* define it empty for functions that other files can call */
#define SAMESTEP_API static inline
#endif
#ifndef SAMESTEP_PARALLEL_FROM /* elements; less than that is done before another thread wakes */
#define SAMESTEP_PARALLEL_FROM 32768
#endif

static inline float finite_or_zero(float x) { return x - x == 0 ? x : 0; }

/* x to the integer power n >= 0: correctly rounded operations in a fixed order, unlike pow */
static inline double ipow(double x, double n)
{
    double result = 1;
    for (int64_t exponent = (int64_t)n; exponent;) {
        if (exponent & 1) result *= x;
        exponent >>= 1;
        if (exponent) x *= x;
    }
    return result;
}

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static inline float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* the element of a code: its part of the scale is the square of the code's part of the most */
static inline float from_root(float code, float scale, float most)
{
    const float root = code * (1 / most);
    return root * fabsf(root) * scale;
}

/* the scale of a block, from the bits of its largest element: 0 below the normal numbers, or NaN */
static inline float scale_of_block(uint32_t top)
{
    if (top >= 0x7F800000) return float_of(0x7FC00000);
    return top < 0x00800000 ? 0 : float_of(top);
}

/* the code of an element, as a byte; inverse is 0 in a block of zeros or NaN. Where most is 255 or 15
   there is no sign, and nothing above 0 becomes 0 */
static inline uint8_t to_root(float x, float inverse, float most)
{
    const float part = inverse > 0 ? x * inverse : 0;
    const float root = most * sqrtf(fabsf(part));
    const float shifted = (part >= 0 ? root : -root) + 12582912.0f; /* which rounds it */
    const uint8_t code = (uint8_t)bits_of(shifted);
    return code == 0 && (most == 255 || most == 15) && inverse > 0 && x > 0 ? 1 : code;
}

/* the scale of a block of count values; mask has the sign if none may be negative */
static inline float scale_of_values(const float *values, int64_t count, uint32_t mask)
{
    uint32_t top = 0;
    for (int64_t lane = 0; lane < count; lane++) {
        const uint32_t bits = bits_of(values[lane] + 0.0f) & mask;
        top = bits > top ? bits : top;
    }
    return scale_of_block(top);
}

/* store a block of count values as codes, rounded roots, and a scale */
static inline void store_block(
    const float *RESTRICT values, int64_t count, uint8_t *RESTRICT codes, float *scale, float most,
    uint32_t mask)
{
    *scale = scale_of_values(values, count, mask);
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t lane = 0; lane < count; lane++) codes[lane] = to_root(values[lane], inverse, most);
}

/* the codes of 4 bits of count elements, which are two in a byte, the first one in its upper half,
   each on its own; flip is 8 where they have a sign, else 0 */
static inline void unpack(const uint8_t *RESTRICT pairs, int64_t count, int8_t *RESTRICT codes, int flip)
{
    for (int64_t k = 0; k < (count + 1) / 2; k++) {
        codes[2 * k] = (int8_t)(((pairs[k] >> 4) ^ flip) - flip);
        codes[2 * k + 1] = (int8_t)(((pairs[k] & 15) ^ flip) - flip);
    }
}

/* put count codes of 4 bits two in a byte; half a byte that is left is 0 */
static inline void pack(const int8_t *RESTRICT codes, int64_t count, uint8_t *RESTRICT pairs)
{
    for (int64_t k = 0; k < count / 2; k++)
        pairs[k] = (uint8_t)((codes[2 * k] & 15) << 4 | (codes[2 * k + 1] & 15));
    if (count % 2) pairs[count / 2] = (uint8_t)((codes[count - 1] & 15) << 4);
}

typedef struct {
    double lr, betas[2], eps, weight_decay;
} adamw_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, step_size, scaled_eps, decay, grad_coefficient;
} adamw_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adamw_scalars adamw_compute_scalars(double step, const adamw_hyper *h)
{
    adamw_scalars result;
    double bias1 = 1 - ipow(h->betas[0], step);
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.step_size = (float)(h->lr * root_bias2 / bias1);
    result.scaled_eps = (float)(h->eps * root_bias2);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void adamw_update(
    const adamw_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    uint8_t *RESTRICT exp_avgs, float *RESTRICT exp_avg_scales, uint8_t *RESTRICT exp_avg_sqs,
    float *RESTRICT exp_avg_sq_scales)
{
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float step_size = s->step_size;
    const float scaled_eps = s->scaled_eps;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for if (n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t start = 0; start < n; start += 128) {
        float exp_avg_scale = exp_avg_scales[start / 128];
        float new_exp_avg[128];
        int8_t exp_avg_codes[128];
        float exp_avg_sq_scale = exp_avg_sq_scales[start / 128];
        float new_exp_avg_sq[128];
        int8_t exp_avg_sq_codes[128];
        const int64_t count = (128 < n - start ? 128 : n - start);
        unpack(exp_avgs + start / 2, count, exp_avg_codes, 8);
        unpack(exp_avg_sqs + start / 2, count, exp_avg_sq_codes, 0);
        for (int64_t lane = 0; lane < count; lane++) {
            const int64_t i = start + lane;
            float param = params[i];
            float grad = grad_coefficient * grads[i];
            float exp_avg = from_root(exp_avg_codes[lane], exp_avg_scale, 7.0f);
            float exp_avg_sq = from_root(exp_avg_sq_codes[lane], exp_avg_sq_scale, 15.0f);
            exp_avg = beta1 * exp_avg + rest1 * grad;
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float denom = sqrtf(exp_avg_sq) + scaled_eps;
            float delta = step_size * (exp_avg / denom);
            params[i] = param - (delta + decay * finite_or_zero(param));
            new_exp_avg[lane] = exp_avg;
            new_exp_avg_sq[lane] = exp_avg_sq;
        }
        store_block(new_exp_avg, count, (uint8_t *)exp_avg_codes, exp_avg_scales + start / 128, 7.0f, 0x7fffffff);
        pack(exp_avg_codes, count, exp_avgs + start / 2);
        store_block(new_exp_avg_sq, count, (uint8_t *)exp_avg_sq_codes, exp_avg_sq_scales + start / 128, 15.0f, 0xffffffff);
        pack(exp_avg_sq_codes, count, exp_avg_sqs + start / 2);
    }
}

#undef RESTRICT
#ifdef __cplusplus
}
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
