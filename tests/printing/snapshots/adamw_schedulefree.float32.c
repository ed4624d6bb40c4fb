/* adamw_schedulefree: update of float32 parameters with float32 gradients.
 *
 * Defazio et al., The Road Less Scheduled, arXiv:2405.15682, Algorithm 1.
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
    double lr, betas[2], eps, weight_decay, r, weight_lr_power, warmup_steps;
} adamw_schedulefree_hyper;

typedef struct {
    double largest_lr, weight_sum;
} adamw_schedulefree_carry; /* start at largest_lr = 0, weight_sum = 0 */

typedef struct {
    float first, toward_z, z_size, y_size, weight_decay, beta2, rest2, root_bias2, scaled_eps,
        grad_coefficient;
} adamw_schedulefree_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adamw_schedulefree_scalars adamw_schedulefree_compute_scalars(
    double step, adamw_schedulefree_carry *carry, const adamw_schedulefree_hyper *h)
{
    adamw_schedulefree_scalars result;
    double length = h->warmup_steps > step ? h->warmup_steps : step;
    double lr = h->lr * (step / length);
    double largest = lr > carry->largest_lr ? lr : carry->largest_lr;
    double weight = pow(step, h->r) * pow(largest, h->weight_lr_power);
    double total_2 = carry->weight_sum + weight;
    double toward_z = total_2 > 0 ? weight / (total_2 > 0 ? total_2 : 1) : 0;
    double bias2 = 1 - ipow(h->betas[1], step);
    double root_bias2 = sqrt(bias2);
    result.first = (float)(step == 1 ? 1 : 0);
    result.toward_z = (float)(toward_z);
    result.z_size = (float)(lr);
    result.y_size = (float)(lr * (1 - h->betas[0] * (1 - toward_z)));
    result.weight_decay = (float)(h->weight_decay);
    result.beta2 = (float)(h->betas[1]);
    result.rest2 = (float)(1 - h->betas[1]);
    result.root_bias2 = (float)(root_bias2);
    result.scaled_eps = (float)(h->eps * root_bias2);
    carry->largest_lr = largest;
    carry->weight_sum = total_2;
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

SAMESTEP_API void adamw_schedulefree_update(
    const adamw_schedulefree_scalars *s, int64_t n, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT zs, float *RESTRICT exp_avg_sqs)
{
    const float first_2 = s->first;
    const float toward_z = s->toward_z;
    const float z_size = s->z_size;
    const float y_size = s->y_size;
    const float weight_decay = s->weight_decay;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float root_bias2 = s->root_bias2;
    const float scaled_eps = s->scaled_eps;
    const float grad_coefficient = s->grad_coefficient;
#ifdef _OPENMP
#pragma omp parallel for simd if (parallel : n >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t i = 0; i < n; i++) {
        float param = params[i];
        float grad = grad_coefficient * grads[i];
        float z = zs[i];
        float exp_avg_sq = exp_avg_sqs[i];
        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
        float direction = root_bias2 * (grad / (sqrtf(exp_avg_sq) + scaled_eps));
        direction = direction + weight_decay * finite_or_zero(param);
        z = first_2 > 0 ? param : z;
        float step_2 = toward_z * (z - param) - y_size * direction;
        params[i] = finite_or_zero(param) == param ? param + step_2 : param;
        zs[i] = finite_or_zero(param) == param ? z - z_size * direction : param;
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
