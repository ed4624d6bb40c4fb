/* ftrl: update of float32 parameters with float32 gradients.
 *
 * McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, Algorithm 1.
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

static inline float minimum(float a, float b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }

typedef struct {
    double lr, l1, l2, beta, initial_accumulator_value;
} ftrl_hyper;

typedef struct {
    float lr, inverse_lr, l1, least, grad_coefficient;
} ftrl_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API ftrl_scalars ftrl_compute_scalars(double step, const ftrl_hyper *h)
{
    (void)step;
    ftrl_scalars result;
    result.lr = (float)(h->lr);
    result.inverse_lr = (float)(1 / h->lr);
    result.l1 = (float)(h->l1);
    result.least = (float)(h->beta + h->lr * h->l2);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void ftrl_update(
    const ftrl_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT accumulators, float *RESTRICT linears)
{
    const float lr = s->lr;
    const float inverse_lr = s->inverse_lr;
    const float l1 = s->l1;
    const float least = s->least;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float accumulator = accumulators[i];
        float linear = linears[i];
        float finite = finite_or_zero(param);
        float before = sqrtf(accumulator);
        accumulator = accumulator + grad * grad;
        float root = sqrtf(accumulator);
        float growth = root == 0 ? 0 : grad * grad / (root + before);
        linear = linear + (grad - inverse_lr * growth * finite);
        float clipped = minimum(maximum(linear, (-l1)), l1);
        float denom = root + least;
        float target = denom == 0 ? 0 : lr * (clipped - linear) / denom;
        float delta = finite - target;
        params[i] = param - delta;
        accumulators[i] = accumulator;
        linears[i] = linear;
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
