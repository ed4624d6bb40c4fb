/* dadapt_adam_decoupled_weight_decay: update of float32 parameters with float32 gradients.
 *
 * Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, arXiv:2301.07733,
 * Algorithm 5.
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

/* the sum of that many lanes, a power of two, by halves */
static inline float fold(float *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = lanes[lane] + lanes[lane + width];
    return lanes[0];
}

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static inline int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the sum of a vector in the fixed order of a sum over a tensor */
static float total(const float *values, int64_t n)
{
    float lanes[2048];
    int64_t span = 1;
    while (n > span * 65536) span *= 65536;
    const int64_t count = (n + span - 1) / span, width = lanes_for(count, 2048);
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
    for (int64_t j = 0; j < count; j++) {
        const int64_t part = n - j * span < span ? n - j * span : span;
        const float value = span == 1 ? values[j] : total(values + j * span, part);
        lanes[j % 2048] = lanes[j % 2048] + value;
    }
    return fold(lanes, width);
}

typedef struct {
    double lr, betas[2], eps, weight_decay, d0, growth_rate, use_bias_correction;
} dadapt_adam_decoupled_weight_decay_hyper;

typedef struct {
    double d, d_numerator, d_denom;
} dadapt_adam_decoupled_weight_decay_carry; /* start at d = 0, d_numerator = 0, d_denom = 0 */

typedef struct {
    float beta1, take1, beta2, rest2, root, rest, weight, eps, weight_decay, decay,
        grad_coefficient;
} dadapt_adam_decoupled_weight_decay_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API dadapt_adam_decoupled_weight_decay_scalars dadapt_adam_decoupled_weight_decay_compute_scalars(
    double step, dadapt_adam_decoupled_weight_decay_carry *carry,
    const dadapt_adam_decoupled_weight_decay_hyper *h)
{
    dadapt_adam_decoupled_weight_decay_scalars result;
    double root = sqrt(h->betas[1]);
    double d = carry->d > 0 ? carry->d : h->d0;
    double d_hat = carry->d_denom > 0 ? carry->d_numerator / (carry->d_denom > 0 ? carry->d_denom : 1) : d;
    double grown = h->growth_rate > 0 ? d * h->growth_rate : d_hat;
    d_hat = grown < d_hat ? grown : d_hat;
    d = d_hat > d ? d_hat : d;
    double correction = sqrt(1 - ipow(h->betas[1], step)) / (1 - ipow(h->betas[0], step));
    double dlr = d * h->lr * (h->use_bias_correction != 0 ? correction : 1);
    result.beta1 = (float)(h->betas[0]);
    result.take1 = (float)(dlr * (1 - h->betas[0]));
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.root = (float)(root);
    result.rest = (float)(1 - root);
    result.weight = (float)((1 - root) * dlr);
    result.eps = (float)(h->eps);
    result.weight_decay = (float)(h->weight_decay);
    result.decay = (float)(dlr * h->weight_decay);
    carry->d = d;
    carry->d_numerator = root * carry->d_numerator;
    carry->d_denom = 0;
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void dadapt_adam_decoupled_weight_decay_pass0(
    const dadapt_adam_decoupled_weight_decay_scalars *s, int64_t index, int64_t size,
    float *RESTRICT params, const float *RESTRICT grads, float *RESTRICT exp_avgs,
    float *RESTRICT exp_avg_sqs, float *RESTRICT grad_sums, float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    exp_avgs += index * 65536;
    exp_avg_sqs += index * 65536;
    grad_sums += index * 65536;
    float sum0_lanes[2048];
    float sum1_lanes[2048];
    const float beta1 = s->beta1;
    const float take1 = s->take1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float root = s->root;
    const float weight = s->weight;
    const float eps = s->eps;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t width = lanes_for(n, 2048);
    for (int64_t lane = 0; lane < width; lane++) {
        sum0_lanes[lane] = 0;
    }
    for (int64_t lane = 0; lane < width; lane++) {
        sum1_lanes[lane] = 0;
    }
    for (int64_t start = 0; start < n; start += 2048) {
        for (int64_t lane = 0; lane < (2048 < n - start ? 2048 : n - start); lane++) {
            const int64_t i = start + lane;
            float param = params[i];
            float grad = grad_coefficient * grads[i];
            float exp_avg = exp_avgs[i];
            float exp_avg_sq = exp_avg_sqs[i];
            float grad_sum = grad_sums[i];
            exp_avg = beta1 * exp_avg + take1 * grad;
            float exp_avg_sq_2 = beta2 * exp_avg_sq + rest2 * (grad * grad);
            float grad_sum_2 = root * grad_sum + weight * grad;
            float step_2 = exp_avg / (sqrtf(exp_avg_sq_2) + eps);
            params[i] = param - (step_2 + decay * finite_or_zero(param));
            exp_avgs[i] = exp_avg;
            exp_avg_sqs[i] = exp_avg_sq_2;
            grad_sums[i] = grad_sum_2;
            sum0_lanes[lane] = sum0_lanes[lane] + grad * (grad_sum / (sqrtf(exp_avg_sq) + eps));
            sum1_lanes[lane] = sum1_lanes[lane] + fabsf(grad_sum_2);
        }
    }
    float sum0 = fold(sum0_lanes, width);
    workspace[sum0_at + index] = sum0;
    float sum1 = fold(sum1_lanes, width);
    workspace[sum1_at + index] = sum1;
}

static void dadapt_adam_decoupled_weight_decay_fold1(
    const dadapt_adam_decoupled_weight_decay_scalars *s, int64_t size, float *RESTRICT numerators,
    float *RESTRICT denominators, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const float rest = s->rest;
    const float weight = s->weight;
    float sum0 = total(workspace + sum0_at, chunks);
    float numerator = weight * sum0;
    float sum1 = total(workspace + sum1_at, chunks);
    float denominator = rest * sum1;
    numerators[0] = numerator;
    denominators[0] = denominator;
}

/* How many numbers the workspace of dadapt_adam_decoupled_weight_decay_update holds. */
SAMESTEP_API int64_t dadapt_adam_decoupled_weight_decay_workspace(int64_t size)
{
    const int64_t chunks = (size + 65535) / 65536;
    return chunks + chunks;
}

/* One step of one tensor of size elements. */
SAMESTEP_API void dadapt_adam_decoupled_weight_decay_update(
    const dadapt_adam_decoupled_weight_decay_scalars *s, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *RESTRICT grad_sums, float *RESTRICT numerators, float *RESTRICT denominators,
    float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        dadapt_adam_decoupled_weight_decay_pass0(s, index, size, params, grads, exp_avgs, exp_avg_sqs, grad_sums, workspace);
    }
    dadapt_adam_decoupled_weight_decay_fold1(s, size, numerators, denominators, workspace);
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
