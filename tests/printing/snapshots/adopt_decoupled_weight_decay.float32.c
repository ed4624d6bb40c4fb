/* adopt_decoupled_weight_decay: update of float32 parameters with float32 gradients.
 *
 * Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate,
 * arXiv:2411.02853, Algorithm 2.
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
    double lr, betas[2], eps, weight_decay, clip_exponent;
} adopt_decoupled_weight_decay_hyper;

typedef struct {
    float lr, beta1, rest1, keep, take, eps, limit, weight_decay, decay, grad_coefficient;
} adopt_decoupled_weight_decay_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adopt_decoupled_weight_decay_scalars adopt_decoupled_weight_decay_compute_scalars(
    double step, const adopt_decoupled_weight_decay_hyper *h)
{
    adopt_decoupled_weight_decay_scalars result;
    result.lr = (float)(h->lr);
    result.beta1 = (float)(h->betas[0]);
    result.rest1 = (float)(step == 1 ? 0 : 1 - h->betas[0]);
    result.keep = (float)(step == 1 ? 0 : h->betas[1]);
    result.take = (float)(step == 1 ? 1 : 1 - h->betas[1]);
    result.eps = (float)(h->eps);
    result.limit = (float)(step == 1 ? 1 : pow(step - 1, h->clip_exponent));
    result.weight_decay = (float)(h->weight_decay);
    result.decay = (float)(step == 1 ? 0 : h->lr * h->weight_decay);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void adopt_decoupled_weight_decay_update(
    const adopt_decoupled_weight_decay_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs)
{
    const float lr = s->lr;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float keep = s->keep;
    const float take = s->take;
    const float eps = s->eps;
    const float limit = s->limit;
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
        float normalized = grad / maximum(sqrtf(exp_avg_sq), eps);
        float clipped = minimum(maximum(normalized, (-limit)), limit);
        exp_avg = beta1 * exp_avg + rest1 * clipped;
        exp_avg_sq = keep * exp_avg_sq + take * (grad * grad);
        float delta = lr * exp_avg;
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
