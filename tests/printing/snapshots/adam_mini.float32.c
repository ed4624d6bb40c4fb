/* adam_mini: update of float32 parameters with float32 gradients.
 *
 * Zhang et al., Adam-mini: Use Fewer Learning Rates To Gain More, arXiv:2406.16793, Algorithm 1.
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

/* add up so many lines by neighbours, into line 0 */
static inline void add_lines(float *lines, int64_t count, int64_t width)
{
    for (int64_t step = 1; step < count; step *= 2)
        for (int64_t line = 0; line + step < count; line += 2 * step)
            for (int64_t i = line * width; i < (line + 1) * width; i++)
                lines[i] = lines[i] + lines[i + step * width];
}

typedef struct {
    double lr, betas[2], eps, weight_decay;
} adam_mini_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, step_size, scaled_eps, decay, grad_coefficient;
} adam_mini_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adam_mini_scalars adam_mini_compute_scalars(double step, const adam_mini_hyper *h)
{
    adam_mini_scalars result;
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

static void adam_mini_pass0(
    const adam_mini_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t sum0_at = 0;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    float sum0_lanes[256];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t r = 0; r < height; r++) {
        for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
            const int64_t sum0_line = sum0_at + (first_column + chunk) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < 256; lane++) {
                float sum0_lane = 0;
                for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float grad = grad_coefficient * grads[i];
                    sum0_lane = sum0_lane + grad * grad;
                }
                sum0_lanes[lane] = sum0_lane;
            }
            workspace[sum0_line + r] = fold(sum0_lanes, 256);
        }
        if (whole < tile_width) {
            const int64_t sum0_line = sum0_at + (first_column + whole) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < width; lane++) {
                sum0_lanes[lane] = 0;
            }
            for (int64_t start = whole; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float grad = grad_coefficient * grads[i];
                    sum0_lanes[lane] = sum0_lanes[lane] + grad * grad;
                }
            }
            workspace[sum0_line + r] = fold(sum0_lanes, width);
        }
    }
}

static void adam_mini_fold1(
    const adam_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t exp_avg_sq_at = sum0_at + chunks * size;
    const int64_t value_at = exp_avg_sq_at + size;
    add_lines(workspace + sum0_at, chunks, size);
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float scaled_eps = s->scaled_eps;
    for (int64_t r = 0; r < size; r++) {
        float exp_avg_sq = beta2 * exp_avg_sqs[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
        workspace[exp_avg_sq_at + r] = exp_avg_sq;
        float value = sqrtf(exp_avg_sq) + scaled_eps;
        workspace[value_at + r] = value;
    }
}

static void adam_mini_pass1(
    const adam_mini_scalars *s, int64_t index, int64_t size, int64_t columns,
    float *RESTRICT params, const float *RESTRICT grads, float *RESTRICT exp_avgs,
    float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t exp_avg_sq_at = sum0_at + chunks * size;
    const int64_t value_at = exp_avg_sq_at + size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float step_size = s->step_size;
    const float decay = s->decay;
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t r = 0; r < height; r++) {
        float value = workspace[value_at + first_row + r];
        for (int64_t start = 0; start < tile_width; start += 256) {
            for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float exp_avg = exp_avgs[i];
                exp_avg = beta1 * exp_avg + rest1 * grad;
                float delta = step_size * (exp_avg / value);
                params[i] = param - (delta + decay * finite_or_zero(param));
                exp_avgs[i] = exp_avg;
            }
        }
    }
}

static void adam_mini_fold2(
    const adam_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    (void)s;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t sum0_at = 0;
    const int64_t exp_avg_sq_at = sum0_at + chunks * size;
    for (int64_t r = 0; r < size; r++) {
        exp_avg_sqs[r] = workspace[exp_avg_sq_at + r];
    }
}

/* How many numbers the workspace of adam_mini_update holds. */
SAMESTEP_API int64_t adam_mini_workspace(int64_t size, int64_t columns)
{
    const int64_t chunks = (columns + 1023) / 1024;
    return chunks * size + size + size;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void adam_mini_update(
    const adam_mini_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        adam_mini_pass0(s, index, size, columns, grads, workspace);
    }
    adam_mini_fold1(s, size, columns, exp_avg_sqs, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        adam_mini_pass1(s, index, size, columns, params, grads, exp_avgs, workspace);
    }
    adam_mini_fold2(s, size, columns, exp_avg_sqs, workspace);
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
