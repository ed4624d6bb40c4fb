/* came_no_factored: update of float32 parameters with float32 gradients.
 *
 * Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, arXiv:2307.02047,
 * Algorithm 2.
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
    double lr, betas[3], eps[2], clip_threshold, weight_decay;
} came_no_factored_hyper;

typedef struct {
    float lr, beta1, rest1, beta2, rest2, beta3, rest3, eps1, eps2, clip_threshold, decay,
        grad_coefficient;
} came_no_factored_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API came_no_factored_scalars came_no_factored_compute_scalars(
    double step, const came_no_factored_hyper *h)
{
    (void)step;
    came_no_factored_scalars result;
    result.lr = (float)(h->lr);
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.beta3 = (float)(h->betas[2]);
    result.rest3 = (float)(1 - h->betas[2]);
    result.eps1 = (float)(h->eps[0]);
    result.eps2 = (float)(h->eps[1]);
    result.clip_threshold = (float)(h->clip_threshold);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void came_no_factored_pass0(
    const came_no_factored_scalars *s, int64_t index, int64_t size, const float *RESTRICT grads,
    float *RESTRICT exp_avg_sqs, float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t sum0_at = 0;
    grads += index * 65536;
    exp_avg_sqs += index * 65536;
    float sum0_lanes[2048];
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps1 = s->eps1;
    const float grad_coefficient = s->grad_coefficient;
    const int64_t width = lanes_for(n, 2048);
    for (int64_t lane = 0; lane < width; lane++) {
        sum0_lanes[lane] = 0;
    }
    for (int64_t start = 0; start < n; start += 2048) {
        for (int64_t lane = 0; lane < (2048 < n - start ? 2048 : n - start); lane++) {
            const int64_t i = start + lane;
            float grad = grad_coefficient * grads[i];
            float exp_avg_sq = exp_avg_sqs[i];
            exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad + eps1);
            float update = grad / sqrtf(exp_avg_sq);
            sum0_lanes[lane] = sum0_lanes[lane] + update * update;
        }
    }
    float sum0 = fold(sum0_lanes, width);
    workspace[sum0_at + index] = sum0;
}

static void came_no_factored_fold1(
    const came_no_factored_scalars *s, int64_t size, float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t value_at = sum0_at + chunks;
    const float clip_threshold = s->clip_threshold;
    float sum0 = total(workspace + sum0_at, chunks);
    float value = maximum(sqrtf(sum0 / (float)(size)) / clip_threshold, 1);
    workspace[value_at] = value;
}

static void came_no_factored_pass1(
    const came_no_factored_scalars *s, int64_t index, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t n = (size - index * 65536 < 65536 ? size - index * 65536 : 65536);
    const int64_t chunks = (size + 65535) / 65536;
    const int64_t sum0_at = 0;
    const int64_t value_at = sum0_at + chunks;
    params += index * 65536;
    grads += index * 65536;
    exp_avgs += index * 65536;
    exp_avg_sqs += index * 65536;
    const float lr = s->lr;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps1 = s->eps1;
    const float decay = s->decay;
    float value = workspace[value_at];
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float exp_avg = exp_avgs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad + eps1);
        float update = grad / sqrtf(exp_avg_sq);
        exp_avg = beta1 * exp_avg + rest1 * (update / value);
        float delta = lr * exp_avg;
        params[i] = param - (delta + decay * finite_or_zero(param));
        exp_avgs[i] = exp_avg;
        exp_avg_sqs[i] = exp_avg_sq;
    }
}

/* How many numbers the workspace of came_no_factored_update holds. */
SAMESTEP_API int64_t came_no_factored_workspace(int64_t size)
{
    const int64_t chunks = (size + 65535) / 65536;
    return chunks + 1;
}

/* One step of one tensor of size elements. */
SAMESTEP_API void came_no_factored_update(
    const came_no_factored_scalars *s, int64_t size, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t chunks = (size + 65535) / 65536;
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        came_no_factored_pass0(s, index, size, grads, exp_avg_sqs, workspace);
    }
    came_no_factored_fold1(s, size, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < chunks; index++) {
        came_no_factored_pass1(s, index, size, params, grads, exp_avgs, exp_avg_sqs, workspace);
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
