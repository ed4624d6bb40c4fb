/* adamw: update of float32 parameters with float32 gradients.
 * States: exp_avg in dynamic8; exp_avg_sq in udynamic8.
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

static const float dynamic8_map[256] = {
    -0.99296874f, -0.9789063f, -0.96484375f, -0.9507812f, -0.93671876f, -0.92265624f, -0.9085938f,
    -0.89453125f, -0.8804687f, -0.86640626f, -0.85234374f, -0.8382813f, -0.82421875f, -0.8101562f,
    -0.79609376f, -0.78203124f, -0.7679688f, -0.75390625f, -0.7398437f, -0.72578126f, -0.7117188f,
    -0.6976563f, -0.68359375f, -0.6695312f, -0.65546876f, -0.6414063f, -0.6273438f, -0.61328125f,
    -0.5992187f, -0.58515626f, -0.5710938f, -0.5570313f, -0.54296875f, -0.5289062f, -0.5148437f,
    -0.50078124f, -0.4867187f, -0.47265625f, -0.45859373f, -0.44453126f, -0.43046874f,
    -0.41640624f, -0.40234375f, -0.38828123f, -0.37421876f, -0.36015624f, -0.34609374f,
    -0.33203125f, -0.31796873f, -0.30390626f, -0.28984374f, -0.27578127f, -0.26171875f,
    -0.24765624f, -0.23359375f, -0.21953125f, -0.20546874f, -0.19140625f, -0.17734376f,
    -0.16328125f, -0.14921875f, -0.13515624f, -0.12109375f, -0.107031256f, -0.09859375f,
    -0.09578126f, -0.092968754f, -0.09015625f, -0.08734375f, -0.08453125f, -0.08171876f,
    -0.07890625f, -0.07609375f, -0.07328125f, -0.070468746f, -0.067656256f, -0.06484375f,
    -0.06203125f, -0.059218753f, -0.05640625f, -0.05359375f, -0.05078125f, -0.04796875f,
    -0.04515625f, -0.042343747f, -0.03953125f, -0.036718752f, -0.03390625f, -0.03109375f,
    -0.028281251f, -0.02546875f, -0.02265625f, -0.019843752f, -0.01703125f, -0.01421875f,
    -0.01140625f, -0.00971875f, -0.009156249f, -0.00859375f, -0.00803125f, -0.00746875f,
    -0.00690625f, -0.00634375f, -0.00578125f, -0.0052187503f, -0.0046562497f, -0.00409375f,
    -0.0035312497f, -0.00296875f, -0.00240625f, -0.00184375f, -0.0012812499f, -0.0009437501f,
    -0.00083125f, -0.00071875006f, -0.0006062501f, -0.00049375003f, -0.00038125002f,
    -0.00026875004f, -0.00015625001f, -8.875e-05f, -6.625e-05f, -4.375e-05f, -2.1249998e-05f,
    -7.75e-06f, -3.2500002e-06f, -5.5000004e-07f, 0.0f, 5.5000004e-07f, 3.2500002e-06f, 7.75e-06f,
    2.1249998e-05f, 4.375e-05f, 6.625e-05f, 8.875e-05f, 0.00015625001f, 0.00026875004f,
    0.00038125002f, 0.00049375003f, 0.0006062501f, 0.00071875006f, 0.00083125f, 0.0009437501f,
    0.0012812499f, 0.00184375f, 0.00240625f, 0.00296875f, 0.0035312497f, 0.00409375f,
    0.0046562497f, 0.0052187503f, 0.00578125f, 0.00634375f, 0.00690625f, 0.00746875f, 0.00803125f,
    0.00859375f, 0.009156249f, 0.00971875f, 0.01140625f, 0.01421875f, 0.01703125f, 0.019843752f,
    0.02265625f, 0.02546875f, 0.028281251f, 0.03109375f, 0.03390625f, 0.036718752f, 0.03953125f,
    0.042343747f, 0.04515625f, 0.04796875f, 0.05078125f, 0.05359375f, 0.05640625f, 0.059218753f,
    0.06203125f, 0.06484375f, 0.067656256f, 0.070468746f, 0.07328125f, 0.07609375f, 0.07890625f,
    0.08171876f, 0.08453125f, 0.08734375f, 0.09015625f, 0.092968754f, 0.09578126f, 0.09859375f,
    0.107031256f, 0.12109375f, 0.13515624f, 0.14921875f, 0.16328125f, 0.17734376f, 0.19140625f,
    0.20546874f, 0.21953125f, 0.23359375f, 0.24765624f, 0.26171875f, 0.27578127f, 0.28984374f,
    0.30390626f, 0.31796873f, 0.33203125f, 0.34609374f, 0.36015624f, 0.37421876f, 0.38828123f,
    0.40234375f, 0.41640624f, 0.43046874f, 0.44453126f, 0.45859373f, 0.47265625f, 0.4867187f,
    0.50078124f, 0.5148437f, 0.5289062f, 0.54296875f, 0.5570313f, 0.5710938f, 0.58515626f,
    0.5992187f, 0.61328125f, 0.6273438f, 0.6414063f, 0.65546876f, 0.6695312f, 0.68359375f,
    0.6976563f, 0.7117188f, 0.72578126f, 0.7398437f, 0.75390625f, 0.7679688f, 0.78203124f,
    0.79609376f, 0.8101562f, 0.82421875f, 0.8382813f, 0.85234374f, 0.86640626f, 0.8804687f,
    0.89453125f, 0.9085938f, 0.92265624f, 0.93671876f, 0.9507812f, 0.96484375f, 0.9789063f,
    0.99296874f, 1.0f
};

static const float udynamic8_map[256] = {
    0.0f, 3.2500003e-07f, 7.75e-07f, 2.1249998e-06f, 4.3749997e-06f, 6.625e-06f, 8.874999e-06f,
    1.5624999e-05f, 2.6875001e-05f, 3.8125e-05f, 4.9374998e-05f, 6.0625003e-05f, 7.1875e-05f,
    8.312499e-05f, 9.4375e-05f, 0.000128125f, 0.000184375f, 0.00024062501f, 0.00029687502f,
    0.00035312498f, 0.00040937503f, 0.00046562502f, 0.00052187504f, 0.000578125f, 0.000634375f,
    0.00069062505f, 0.000746875f, 0.0008031251f, 0.00085937505f, 0.000915625f, 0.00097187504f,
    0.001140625f, 0.001421875f, 0.001703125f, 0.001984375f, 0.002265625f, 0.0025468748f,
    0.002828125f, 0.0031093748f, 0.0033906251f, 0.003671875f, 0.003953125f, 0.0042343745f,
    0.004515625f, 0.0047968747f, 0.005078125f, 0.005359375f, 0.0056406246f, 0.005921875f,
    0.0062031248f, 0.006484375f, 0.0067656254f, 0.0070468746f, 0.007328125f, 0.0076093744f,
    0.007890625f, 0.008171875f, 0.008453124f, 0.008734375f, 0.009015624f, 0.0092968745f,
    0.009578126f, 0.009859375f, 0.010703126f, 0.012109376f, 0.013515624f, 0.014921876f,
    0.016328124f, 0.017734377f, 0.019140625f, 0.020546874f, 0.021953126f, 0.023359375f,
    0.024765624f, 0.026171876f, 0.027578129f, 0.028984373f, 0.030390626f, 0.031796873f,
    0.033203125f, 0.034609374f, 0.036015626f, 0.03742188f, 0.038828123f, 0.040234376f,
    0.041640624f, 0.043046873f, 0.044453125f, 0.045859374f, 0.047265626f, 0.04867187f,
    0.050078124f, 0.051484372f, 0.052890625f, 0.054296877f, 0.05570313f, 0.057109382f,
    0.058515627f, 0.059921872f, 0.061328124f, 0.06273438f, 0.06414063f, 0.06554688f, 0.06695312f,
    0.068359375f, 0.06976563f, 0.07117188f, 0.072578125f, 0.07398438f, 0.07539063f, 0.07679688f,
    0.07820313f, 0.07960938f, 0.081015624f, 0.08242188f, 0.08382813f, 0.085234374f, 0.086640626f,
    0.08804687f, 0.08945312f, 0.090859376f, 0.09226563f, 0.09367188f, 0.095078126f, 0.09648438f,
    0.09789063f, 0.099296875f, 0.103515625f, 0.11054687f, 0.11757813f, 0.12460937f, 0.13164061f,
    0.13867188f, 0.14570314f, 0.15273437f, 0.15976563f, 0.16679686f, 0.17382812f, 0.18085939f,
    0.18789062f, 0.19492188f, 0.20195311f, 0.20898438f, 0.21601564f, 0.22304687f, 0.23007813f,
    0.23710936f, 0.24414062f, 0.25117186f, 0.25820312f, 0.26523438f, 0.2722656f, 0.27929688f,
    0.28632814f, 0.29335937f, 0.3003906f, 0.30742186f, 0.31445312f, 0.3214844f, 0.32851562f,
    0.33554685f, 0.3425781f, 0.34960938f, 0.35664064f, 0.36367187f, 0.3707031f, 0.37773436f,
    0.38476562f, 0.3917969f, 0.39882812f, 0.40585935f, 0.4128906f, 0.41992188f, 0.42695314f,
    0.43398437f, 0.4410156f, 0.44804686f, 0.45507812f, 0.4621094f, 0.46914062f, 0.47617185f,
    0.4832031f, 0.49023438f, 0.4972656f, 0.5042969f, 0.5113281f, 0.51835936f, 0.5253906f,
    0.5324218f, 0.53945315f, 0.54648435f, 0.5535157f, 0.5605469f, 0.56757814f, 0.5746094f,
    0.5816406f, 0.5886719f, 0.5957031f, 0.6027344f, 0.60976565f, 0.61679685f, 0.6238282f,
    0.6308594f, 0.63789064f, 0.6449219f, 0.6519531f, 0.6589844f, 0.6660156f, 0.6730469f,
    0.68007815f, 0.68710935f, 0.6941407f, 0.7011719f, 0.70820314f, 0.7152344f, 0.7222656f,
    0.7292969f, 0.7363281f, 0.7433594f, 0.75039065f, 0.75742185f, 0.7644532f, 0.7714844f,
    0.7785156f, 0.7855469f, 0.7925781f, 0.7996094f, 0.8066406f, 0.8136718f, 0.82070315f,
    0.82773435f, 0.8347657f, 0.8417969f, 0.8488281f, 0.8558594f, 0.8628906f, 0.8699219f,
    0.8769531f, 0.8839843f, 0.89101565f, 0.89804685f, 0.9050782f, 0.9121094f, 0.9191406f,
    0.9261719f, 0.9332031f, 0.9402344f, 0.9472656f, 0.9542968f, 0.96132815f, 0.96835935f,
    0.9753907f, 0.9824219f, 0.9894531f, 0.9964844f, 1.0f
};

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

/* the scale of a block, from the bits of its largest element: 0 below the normal numbers, or NaN */
static inline float scale_of_block(uint32_t top)
{
    if (top >= 0x7F800000) return float_of(0x7FC00000);
    return top < 0x00800000 ? 0 : float_of(top);
}

/* the element of a code: its part of the scale is the map's value of that number */
static inline float from_map(uint8_t code, float scale, const float *map) { return map[code] * scale; }

/* the code of an element: the number of the map's nearest value, of two the upper one */
static inline uint8_t to_map(float x, float inverse, const float *map)
{
    const float part = inverse > 0 ? x * inverse : 0;
    int below = 0; /* the last value that is not above the part */
    for (int bit = 128; bit > 0; bit >>= 1) below += part >= map[below + bit] ? bit : 0;
    const int above = below < 255 ? below + 1 : 255;
    return (uint8_t)(part - map[below] >= (map[above] - map[below]) * 0.5f ? above : below);
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

/* store a block of count values as codes, numbers of the map's values, and a scale */
static inline void store_mapped_block(
    const float *RESTRICT values, int64_t count, uint8_t *RESTRICT codes, float *scale,
    const float *map, uint32_t mask)
{
    *scale = scale_of_values(values, count, mask);
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t lane = 0; lane < count; lane++) codes[lane] = to_map(values[lane], inverse, map);
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
    for (int64_t start = 0; start < n; start += 256) {
        float exp_avg_scale = exp_avg_scales[start / 256];
        float new_exp_avg[256];
        float exp_avg_sq_scale = exp_avg_sq_scales[start / 256];
        float new_exp_avg_sq[256];
        const int64_t count = (256 < n - start ? 256 : n - start);
        for (int64_t lane = 0; lane < count; lane++) {
            const int64_t i = start + lane;
            float param = params[i];
            float grad = grad_coefficient * grads[i];
            float exp_avg = from_map(exp_avgs[i], exp_avg_scale, dynamic8_map);
            float exp_avg_sq = from_map(exp_avg_sqs[i], exp_avg_sq_scale, udynamic8_map);
            exp_avg = beta1 * exp_avg + rest1 * grad;
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float denom = sqrtf(exp_avg_sq) + scaled_eps;
            float delta = step_size * (exp_avg / denom);
            params[i] = param - (delta + decay * finite_or_zero(param));
            new_exp_avg[lane] = exp_avg;
            new_exp_avg_sq[lane] = exp_avg_sq;
        }
        store_mapped_block(new_exp_avg, count, (uint8_t *)exp_avgs + start, exp_avg_scales + start / 256, dynamic8_map, 0x7fffffff);
        store_mapped_block(new_exp_avg_sq, count, (uint8_t *)exp_avg_sqs + start, exp_avg_sq_scales + start / 256, udynamic8_map, 0xffffffff);
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
