/* sophia: update of float32 parameters with float32 gradients.
 *
 * Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-
 * training, arXiv:2305.14342, Algorithm 3.
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
    double lr, betas[2], rho, eps, weight_decay;
} sophia_hyper;

typedef struct {
    float lr, beta1, rest1, rho, eps, decay, grad_coefficient;
} sophia_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API sophia_scalars sophia_compute_scalars(double step, const sophia_hyper *h)
{
    (void)step;
    sophia_scalars result;
    result.lr = (float)(h->lr);
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(1 - h->betas[0]);
    result.rho = (float)(h->rho);
    result.eps = (float)(h->eps);
    result.decay = (float)(h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void sophia_update(
    const sophia_scalars *s, int64_t n, float *RESTRICT params, const float *RESTRICT grads,
    float *RESTRICT exp_avgs, float *RESTRICT hessians)
{
    const float lr = s->lr;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float rho = s->rho;
    const float eps = s->eps;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float exp_avg = exp_avgs[i];
        float hessian = hessians[i];
        exp_avg = beta1 * exp_avg + rest1 * grad;
        float ratio = exp_avg / maximum(rho * hessian, eps);
        float delta = lr * maximum(minimum(ratio, 1), -1);
        params[i] = param - (delta + decay * finite_or_zero(param));
        exp_avgs[i] = exp_avg;
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
