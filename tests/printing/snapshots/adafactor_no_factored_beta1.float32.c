/* adafactor_no_factored_beta1: update of float32 parameters with float32 gradients.
 *
 * Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost,
 * arXiv:1804.04235, Algorithm 5.
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

static inline float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

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
    double lr, beta2_decay, eps[2], d, weight_decay, beta1, relative_step;
} adafactor_no_factored_beta1_hyper;

typedef struct {
    float beta2, rest2, eps1, eps2, rho, d, weight_decay, beta1, rest1, grad_coefficient;
} adafactor_no_factored_beta1_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adafactor_no_factored_beta1_scalars adafactor_no_factored_beta1_compute_scalars(
    double step, const adafactor_no_factored_beta1_hyper *h)
{
    adafactor_no_factored_beta1_scalars result;
    double fading = pow(step, h->beta2_decay);
    double relative = 1 / sqrt(step);
    double bounded = relative < h->lr ? relative : h->lr;
    result.beta2 = (float)(1 - fading);
    result.rest2 = (float)(fading);
    result.eps1 = (float)(h->eps[0]);
    result.eps2 = (float)(h->eps[1]);
    result.rho = (float)(h->relative_step != 0 ? bounded : h->lr);
    result.d = (float)(h->d);
    result.weight_decay = (float)(h->weight_decay);
    result.beta1 = (float)(h->beta1);
    result.rest1 = (float)(1 - h->beta1);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void adafactor_no_factored_beta1_pass0(
    const adafactor_no_factored_beta1_scalars *s, int64_t index, int64_t size,
    float *RESTRICT params, const float *RESTRICT grads, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    exp_avg_sqs += index * 65536;
    float sum0_lanes[2048];
    float sum1_lanes[2048];
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps1 = s->eps1;
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
            float exp_avg_sq = exp_avg_sqs[i];
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad + eps1);
            float direction = grad / sqrtf(exp_avg_sq);
            float x = finite_or_zero(param);
            sum0_lanes[lane] = sum0_lanes[lane] + x * x;
            sum1_lanes[lane] = sum1_lanes[lane] + direction * direction;
        }
    }
    float sum0 = fold(sum0_lanes, width);
    workspace[sum0_at + index] = sum0;
    float sum1 = fold(sum1_lanes, width);
    workspace[sum1_at + index] = sum1;
}

static void adafactor_no_factored_beta1_fold1(
    const adafactor_no_factored_beta1_scalars *s, int64_t size, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t step_size_at = sum1_at + chunks;
    const int64_t decay_at = step_size_at + 1;
    const float eps2 = s->eps2;
    const float rho = s->rho;
    const float d = s->d;
    const float weight_decay = s->weight_decay;
    float sum0 = total(workspace + sum0_at, chunks);
    float alpha = maximum(sqrtf(sum0 / (float)(size)), eps2) * rho;
    float sum1 = total(workspace + sum1_at, chunks);
    float clip = maximum(sqrtf(sum1 / (float)(size)) / d, 1);
    float step_size = alpha / clip;
    workspace[step_size_at] = step_size;
    float decay = alpha * weight_decay;
    workspace[decay_at] = decay;
}

static void adafactor_no_factored_beta1_pass1(
    const adafactor_no_factored_beta1_scalars *s, int64_t index, int64_t size,
    float *RESTRICT params, const float *RESTRICT grads, float *RESTRICT exp_avgs,
    float *RESTRICT exp_avg_sqs, float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t sum1_at = sum0_at + chunks;
    const int64_t step_size_at = sum1_at + chunks;
    const int64_t decay_at = step_size_at + 1;
    params += index * 65536;
    grads += index * 65536;
    exp_avgs += index * 65536;
    exp_avg_sqs += index * 65536;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps1 = s->eps1;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    float step_size = workspace[step_size_at];
    float decay = workspace[decay_at];
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float exp_avg = exp_avgs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad + eps1);
        float direction = grad / sqrtf(exp_avg_sq);
        exp_avg = beta1 * exp_avg + rest1 * (step_size * direction);
        float delta = exp_avg + decay * finite_or_zero(param);
        params[i] = param - delta;
        exp_avgs[i] = exp_avg;
        exp_avg_sqs[i] = exp_avg_sq;
    }
}

/* How many numbers the workspace of adafactor_no_factored_beta1_update holds. */
SAMESTEP_API int64_t adafactor_no_factored_beta1_workspace(int64_t size)
{
    const int64_t chunks = (size + 65535) / 65536;
    return chunks + chunks + 1 + 1;
}

/* One step of one tensor of size elements. */
SAMESTEP_API void adafactor_no_factored_beta1_update(
    const adafactor_no_factored_beta1_scalars *s, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        adafactor_no_factored_beta1_pass0(s, index, size, params, grads, exp_avg_sqs, workspace);
    }
    adafactor_no_factored_beta1_fold1(s, size, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        adafactor_no_factored_beta1_pass1(s, index, size, params, grads, exp_avgs, exp_avg_sqs, workspace);
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
