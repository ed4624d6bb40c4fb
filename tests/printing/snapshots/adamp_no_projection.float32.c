/* adamp_no_projection: update of float32 parameters with float32 gradients.
 *
 * Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
 * Weights, arXiv:2006.08217, Algorithm 2.
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
    double lr, betas[2], eps, weight_decay, delta, wd_ratio, nesterov;
} adamp_no_projection_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, step_size, scaled_eps, delta, wd_ratio, least, of_mean,
        of_grad, decay, grad_coefficient;
} adamp_no_projection_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adamp_no_projection_scalars adamp_no_projection_compute_scalars(
    double step, const adamp_no_projection_hyper *h)
{
    adamp_no_projection_scalars result;
    double bias1 = 1 - ipow(h->betas[0], step);
    double root_bias2 = sqrt(1 - ipow(h->betas[1], step));
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.step_size = (float)(h->lr * root_bias2 / bias1);
    result.scaled_eps = (float)(h->eps * root_bias2);
    result.delta = (float)(h->delta);
    result.wd_ratio = (float)(h->wd_ratio);
    result.least = (float)(h->eps);
    result.of_mean = (float)(h->nesterov != 0 ? h->betas[0] : 1);
    result.of_grad = (float)(h->nesterov != 0 ? 1 - h->betas[0] : 0);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void adamp_no_projection_update(
    const adamp_no_projection_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs)
{
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float step_size = s->step_size;
    const float scaled_eps = s->scaled_eps;
    const float of_mean = s->of_mean;
    const float of_grad = s->of_grad;
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
        float denom = sqrtf(exp_avg_sq) + scaled_eps;
        float direction = (of_mean * exp_avg + of_grad * grad) / denom;
        float delta = step_size * direction + decay * finite_or_zero(param);
        params[i] = param - delta;
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
