/* sm3: update of float32 parameters with float32 gradients.
 *
 * Anil et al., Memory-Efficient Adaptive Optimization, arXiv:1901.11150, Algorithm SM3-II.
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

static inline float minimum(float a, float b) { return a != a ? a : (b != b ? b : (a < b ? a : b)); }

/* the larger one of two numbers that are not negative; NaN if either is. Where two of these take the
   same a, no comparison is the same: compilers would make a branch of it */
static inline float larger(float a, float b) { return b >= a ? b : (b != b ? b : a); }

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static inline int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* the largest of that many lanes, none of which is negative */
static inline float largest_lane(float *lanes, int64_t width)
{
    for (width /= 2; width > 0; width /= 2)
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = larger(lanes[lane + width], lanes[lane]);
    return lanes[0];
}

/* the largest of so many lines, none of which is negative, into line 0 */
static inline void largest_lines(float *lines, int64_t count, int64_t width)
{
    for (int64_t line = 1; line < count; line++)
        for (int64_t i = 0; i < width; i++) lines[i] = larger(lines[line * width + i], lines[i]);
}

typedef struct {
    double lr, momentum, beta2, eps;
} sm3_hyper;

typedef struct {
    float lr, beta2, rest2, eps, momentum, undamped, grad_coefficient;
} sm3_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API sm3_scalars sm3_compute_scalars(double step, const sm3_hyper *h)
{
    (void)step;
    sm3_scalars result;
    result.lr = (float)(h->lr);
    result.beta2 = (float)(h->beta2);
    result.rest2 = (float)(h->beta2 == 1 ? 1 : 1 - h->beta2);
    result.eps = (float)(h->eps);
    result.momentum = (float)(h->momentum);
    result.undamped = (float)(1 - h->momentum);
    result.grad_coefficient = 1; /* -1 to maximize; or what unscales the loss */
    return result;
}

static void sm3_fold0(
    const sm3_scalars *s, int64_t size, int64_t columns, float *RESTRICT accumulator_rows,
    float *RESTRICT accumulator_cols, float *workspace)
{
    (void)s;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t row_at = 0;
    const int64_t col_at = row_at + chunks * size;
    const int64_t accumulator_row_at = col_at + strips * columns;
    const int64_t accumulator_col_at = accumulator_row_at + size;
    for (int64_t r = 0; r < size; r++) {
        float accumulator_row = accumulator_rows[r];
        workspace[accumulator_row_at + r] = accumulator_row;
    }
    for (int64_t column = 0; column < columns; column++) {
        float accumulator_col = accumulator_cols[column];
        workspace[accumulator_col_at + column] = accumulator_col;
    }
}

static void sm3_pass0(
    const sm3_scalars *s, int64_t index, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t row_at = 0;
    const int64_t col_at = row_at + chunks * size;
    const int64_t accumulator_row_at = col_at + strips * columns;
    const int64_t accumulator_col_at = accumulator_row_at + size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    float row_lanes[256];
    const float lr = s->lr;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float eps = s->eps;
    const float momentum = s->momentum;
    const float undamped = s->undamped;
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t strip = 0; strip < height; strip += 64) {
        const int64_t col_line = col_at + (first_row + strip) / 64 * columns + first_column;
        for (int64_t column = 0; column < tile_width; column++) {
            workspace[col_line + column] = 0;
        }
        for (int64_t r = strip; r < (strip + 64 < height ? strip + 64 : height); r++) {
            float accumulator_row = workspace[accumulator_row_at + first_row + r];
            for (int64_t chunk = 0; chunk < tile_width; chunk += 1024) {
                const int64_t row_line = row_at + (first_column + chunk) / 1024 * size + first_row;
                const int64_t end = (chunk + 1024 < tile_width ? chunk + 1024 : tile_width);
                const int64_t width = lanes_for(end - chunk, 256);
                for (int64_t lane = 0; lane < width; lane++) {
                    row_lanes[lane] = 0;
                }
                for (int64_t start = chunk; start < end; start += 256) {
                    for (int64_t lane = 0; lane < (256 < end - start ? 256 : end - start); lane++) {
                        const int64_t column = start + lane;
                        const int64_t i = r * columns + column;
                        float accumulator_col = workspace[accumulator_col_at + first_column + column];
                        float param = params[i];
                        float grad = grad_coefficient * grads[i];
                        float exp_avg = exp_avgs[i];
                        float previous = minimum(accumulator_row, accumulator_col);
                        float accumulator = beta2 * previous + rest2 * (grad * grad);
                        float direction = grad / sqrtf(accumulator + eps);
                        exp_avg = momentum * exp_avg + undamped * direction;
                        float delta = lr * exp_avg;
                        params[i] = param - delta;
                        exp_avgs[i] = exp_avg;
                        workspace[col_line + column] = larger(fabsf(accumulator), workspace[col_line + column]);
                        row_lanes[lane] = larger(fabsf(accumulator), row_lanes[lane]);
                    }
                }
                workspace[row_line + r] = largest_lane(row_lanes, width);
            }
        }
    }
}

static void sm3_fold1(
    const sm3_scalars *s, int64_t size, int64_t columns, float *RESTRICT accumulator_rows,
    float *RESTRICT accumulator_cols, float *workspace)
{
    (void)s;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t row_at = 0;
    const int64_t col_at = row_at + chunks * size;
    largest_lines(workspace + row_at, chunks, size);
    largest_lines(workspace + col_at, strips, columns);
    for (int64_t r = 0; r < size; r++) {
        accumulator_rows[r] = workspace[row_at + r];
    }
    for (int64_t column = 0; column < columns; column++) {
        accumulator_cols[column] = workspace[col_at + column];
    }
}

/* How many numbers the workspace of sm3_update holds. */
SAMESTEP_API int64_t sm3_workspace(int64_t size, int64_t columns)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    return chunks * size + strips * columns + size + columns;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void sm3_update(
    const sm3_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT accumulator_rows,
    float *RESTRICT accumulator_cols, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
    sm3_fold0(s, size, columns, accumulator_rows, accumulator_cols, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        sm3_pass0(s, index, size, columns, params, grads, exp_avgs, workspace);
    }
    sm3_fold1(s, size, columns, accumulator_rows, accumulator_cols, workspace);
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
