/* apollo_mini_no_projected: update of float32 parameters with float32 gradients.
 *
 * Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.
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

typedef struct {
    double lr, betas[2], eps, weight_decay, scale, update_proj_gap, projection_seed, norm_growth;
} apollo_mini_no_projected_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, eps, step_size, decay, grad_coefficient;
} apollo_mini_no_projected_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API apollo_mini_no_projected_scalars apollo_mini_no_projected_compute_scalars(
    double step, const apollo_mini_no_projected_hyper *h)
{
    apollo_mini_no_projected_scalars result;
    double bias1 = 1 - ipow(h->betas[0], step);
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    double step_size = h->lr * root_bias2 / bias1;
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.eps = (float)(h->eps);
    result.step_size = (float)(step_size);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void apollo_mini_no_projected_update(
    const apollo_mini_no_projected_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs)
{
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps = s->eps;
    const float step_size = s->step_size;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float exp_avg = exp_avgs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        exp_avg = beta1 * exp_avg + rest1 * grad;
        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
        float direction = exp_avg / (sqrtf(exp_avg_sq) + eps);
        float delta = step_size * direction;
        params[i] = param - (delta + decay * finite_or_zero(param));
        exp_avgs[i] = exp_avg;
        exp_avg_sqs[i] = exp_avg_sq;
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
