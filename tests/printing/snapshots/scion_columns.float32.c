/* scion_columns: update of float32 parameters with float32 gradients.
 *
 * Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, arXiv:2502.07529,
 * Algorithms 1 and 2.
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

/* add up so many lines by neighbours, into line 0 */
static inline void add_lines(float *lines, int64_t count, int64_t width)
{
    for (int64_t step = 1; step < count; step *= 2)
        for (int64_t line = 0; line + step < count; line += 2 * step)
            for (int64_t i = line * width; i < (line + 1) * width; i++)
                lines[i] = lines[i] + lines[i + step * width];
}

typedef struct {
    double lr, scale, weight_decay, alpha, eps;
} scion_columns_hyper;

typedef struct {
    float step_size, decay, alpha, rest, eps, grad_coefficient;
} scion_columns_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API scion_columns_scalars scion_columns_compute_scalars(
    double step, const scion_columns_hyper *h)
{
    (void)step;
    scion_columns_scalars result;
    result.step_size = (float)(h->lr * h->scale);
    result.decay = (float)(h->lr * h->weight_decay);
    result.alpha = (float)(h->alpha);
    result.rest = (float)(1 - h->alpha);
    result.eps = (float)(h->eps);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void scion_columns_pass0(
    const scion_columns_scalars *s, int64_t index, int64_t size, int64_t columns,
    const float *RESTRICT grads, float *RESTRICT momentum_buffers, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t sum0_at = 0;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    grads += first_row * columns + first_column;
    momentum_buffers += first_row * columns + first_column;
    const float alpha = s->alpha;
    const float rest = s->rest;
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t strip = 0; strip < height; strip += 64) {
        const int64_t sum0_line = sum0_at + (first_row + strip) / 64 * columns + first_column;
        for (int64_t column = 0; column < tile_width; column++) {
            workspace[sum0_line + column] = 0;
        }
        for (int64_t r = strip; r < (strip + 64 < height ? strip + 64 : height); r++) {
            for (int64_t start = 0; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float grad = grad_coefficient * grads[i];
                    float momentum_buffer = momentum_buffers[i];
                    momentum_buffer = rest * momentum_buffer + alpha * grad;
                    momentum_buffers[i] = momentum_buffer;
                    workspace[sum0_line + column] = workspace[sum0_line + column] + momentum_buffer * momentum_buffer;
                }
            }
        }
    }
}

static void scion_columns_fold1(
    const scion_columns_scalars *s, int64_t size, int64_t columns, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t length_at = sum0_at + strips * columns;
    const int64_t value_at = length_at + columns;
    add_lines(workspace + sum0_at, strips, columns);
    const float eps = s->eps;
    for (int64_t column = 0; column < columns; column++) {
        float length = sqrtf(workspace[sum0_at + column] / (float)(size));
        workspace[length_at + column] = length;
        float value = length + eps;
        workspace[value_at + column] = value;
    }
}

static void scion_columns_pass1(
    const scion_columns_scalars *s, int64_t index, int64_t size, int64_t columns,
    float *RESTRICT params, float *RESTRICT momentum_buffers, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t sum0_at = 0;
    const int64_t length_at = sum0_at + strips * columns;
    const int64_t value_at = length_at + columns;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    momentum_buffers += first_row * columns + first_column;
    const float step_size = s->step_size;
    const float decay = s->decay;
    for (int64_t r = 0; r < height; r++) {
        for (int64_t start = 0; start < tile_width; start += 256) {
            for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float value = workspace[value_at + first_column + column];
                float param = params[i];
                float momentum_buffer = momentum_buffers[i];
                float delta = step_size * (momentum_buffer / value);
                params[i] = param - (delta + decay * finite_or_zero(param));
            }
        }
    }
}

/* How many numbers the workspace of scion_columns_update holds. */
SAMESTEP_API int64_t scion_columns_workspace(int64_t size, int64_t columns)
{
    const int64_t strips = (size + 63) / 64;
    return strips * columns + columns + columns;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void scion_columns_update(
    const scion_columns_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT momentum_buffers, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        scion_columns_pass0(s, index, size, columns, grads, momentum_buffers, workspace);
    }
    scion_columns_fold1(s, size, columns, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        scion_columns_pass1(s, index, size, columns, params, momentum_buffers, workspace);
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
