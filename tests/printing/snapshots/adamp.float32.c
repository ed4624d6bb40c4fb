/* adamp: update of float32 parameters with float32 gradients.
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

static inline float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

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

/* sum a vector in the fixed order of a sum along a row, into sums[0]; there is room for a number for
   each chunk */
static inline void sum_as_row(const float *values, int64_t n, float *sums)
{
    const int64_t chunks = (n + 1024 - 1) / 1024;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        float lanes[256];
        const int64_t left = n - chunk * 1024, count = left < 1024 ? left : 1024;
        const int64_t width = lanes_for(count, 256);
        for (int64_t lane = 0; lane < width; lane++) lanes[lane] = 0;
        for (int64_t j = 0; j < count; j++)
            lanes[j % 256] = lanes[j % 256] + values[chunk * 1024 + j];
        sums[chunk] = fold(lanes, width);
    }
    add_lines(sums, chunks, 1);
}

typedef struct {
    double lr, betas[2], eps, weight_decay, delta, wd_ratio, nesterov;
} adamp_hyper;

typedef struct {
    float beta1, rest1, beta2, rest2, step_size, scaled_eps, delta, wd_ratio, least, of_mean,
        of_grad, decay, grad_coefficient;
} adamp_scalars;

/* What is equal for all elements of a parameter; step counts from 1. */
SAMESTEP_API adamp_scalars adamp_compute_scalars(double step, const adamp_hyper *h)
{
    adamp_scalars result;
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

static void adamp_pass0(
    const adamp_scalars *s, int64_t index, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t product_at = 0;
    const int64_t grad_square_at = product_at + chunks * size;
    const int64_t square_at = grad_square_at + chunks * size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    float product_lanes[256];
    float grad_square_lanes[256];
    float square_lanes[256];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t r = 0; r < height; r++) {
        for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
            const int64_t product_line = product_at + (first_column + chunk) / 1024 * size + first_row;
            const int64_t grad_square_line = grad_square_at + (first_column + chunk) / 1024 * size + first_row;
            const int64_t square_line = square_at + (first_column + chunk) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < 256; lane++) {
                float product_lane = 0;
                float grad_square_lane = 0;
                float square_lane = 0;
                for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float param = params[i];
                    float grad = grad_coefficient * grads[i];
                    float finite = finite_or_zero(param);
                    product_lane = product_lane + finite * grad;
                    grad_square_lane = grad_square_lane + grad * grad;
                    square_lane = square_lane + finite * finite;
                }
                product_lanes[lane] = product_lane;
                grad_square_lanes[lane] = grad_square_lane;
                square_lanes[lane] = square_lane;
            }
            workspace[product_line + r] = fold(product_lanes, 256);
            workspace[grad_square_line + r] = fold(grad_square_lanes, 256);
            workspace[square_line + r] = fold(square_lanes, 256);
        }
        if (whole < tile_width) {
            const int64_t product_line = product_at + (first_column + whole) / 1024 * size + first_row;
            const int64_t grad_square_line = grad_square_at + (first_column + whole) / 1024 * size + first_row;
            const int64_t square_line = square_at + (first_column + whole) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < width; lane++) {
                product_lanes[lane] = 0;
            }
            for (int64_t lane = 0; lane < width; lane++) {
                grad_square_lanes[lane] = 0;
            }
            for (int64_t lane = 0; lane < width; lane++) {
                square_lanes[lane] = 0;
            }
            for (int64_t start = whole; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float param = params[i];
                    float grad = grad_coefficient * grads[i];
                    float finite = finite_or_zero(param);
                    product_lanes[lane] = product_lanes[lane] + finite * grad;
                    grad_square_lanes[lane] = grad_square_lanes[lane] + grad * grad;
                    square_lanes[lane] = square_lanes[lane] + finite * finite;
                }
            }
            workspace[product_line + r] = fold(product_lanes, width);
            workspace[grad_square_line + r] = fold(grad_square_lanes, width);
            workspace[square_line + r] = fold(square_lanes, width);
        }
    }
}

static void adamp_fold1(const adamp_scalars *s, int64_t size, int64_t columns, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t product_at = 0;
    const int64_t grad_square_at = product_at + chunks * size;
    const int64_t square_at = grad_square_at + chunks * size;
    const int64_t along_at = square_at + chunks * size;
    const int64_t total0_at = along_at + chunks * size;
    const int64_t total1_at = total0_at + strips;
    const int64_t norms_at = total1_at + strips;
    const int64_t in_row_at = norms_at + size;
    const int64_t value_at = in_row_at + size;
    const int64_t total2_at = value_at + size;
    const int64_t total3_at = total2_at + strips;
    const int64_t value_at_2 = total3_at + strips;
    const int64_t x_at = value_at_2 + 1;
    const int64_t row_share_at = x_at + size;
    const int64_t total4_at = row_share_at + size;
    const int64_t share_at = total4_at + strips;
    const int64_t value_at_3 = share_at + size;
    add_lines(workspace + product_at, chunks, size);
    add_lines(workspace + grad_square_at, chunks, size);
    add_lines(workspace + square_at, chunks, size);
    const float delta = s->delta;
    const float least = s->least;
    for (int64_t r = 0; r < size; r++) {
        float norms = maximum(sqrtf(workspace[grad_square_at + r]), least) * maximum(sqrtf(workspace[square_at + r]), least);
        workspace[norms_at + r] = norms;
        float in_row = fabsf(workspace[product_at + r] / norms) < delta / sqrtf((float)(columns)) ? 1 : 0;
        workspace[in_row_at + r] = in_row;
        float value = 1 - in_row;
        workspace[value_at + r] = value;
        float x = sqrtf(workspace[square_at + r]) + least;
        workspace[x_at + r] = x;
    }
    const float wd_ratio = s->wd_ratio;
    const float decay = s->decay;
    sum_as_row(workspace + product_at, size, workspace + total0_at);
    float total0 = workspace[total0_at];
    float whole_product = total0;
    sum_as_row(workspace + square_at, size, workspace + total1_at);
    float total1 = workspace[total1_at];
    float whole_square = total1;
    sum_as_row(workspace + value_at, size, workspace + total2_at);
    float total2 = workspace[total2_at];
    float in_all_rows = total2 == 0 ? 1 : 0;
    sum_as_row(workspace + grad_square_at, size, workspace + total3_at);
    float total3 = workspace[total3_at];
    float grad_square = total3;
    float norms_2 = maximum(sqrtf(grad_square), least) * maximum(sqrtf(whole_square), least);
    float in_whole = fabsf(whole_product / norms_2) < delta / sqrtf((float)(size * columns)) ? 1 : 0;
    float in_any = maximum(in_all_rows, in_whole);
    float value_2 = in_any == 1;
    workspace[value_at_2] = value_2;
    float ratio = in_any == 1 ? wd_ratio : 1;
    float value_3 = decay * ratio;
    workspace[value_at_3] = value_3;
}

static void adamp_pass1(
    const adamp_scalars *s, int64_t index, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t product_at = 0;
    const int64_t grad_square_at = product_at + chunks * size;
    const int64_t square_at = grad_square_at + chunks * size;
    const int64_t along_at = square_at + chunks * size;
    const int64_t total0_at = along_at + chunks * size;
    const int64_t total1_at = total0_at + strips;
    const int64_t norms_at = total1_at + strips;
    const int64_t in_row_at = norms_at + size;
    const int64_t value_at = in_row_at + size;
    const int64_t total2_at = value_at + size;
    const int64_t total3_at = total2_at + strips;
    const int64_t value_at_2 = total3_at + strips;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    exp_avg_sqs += first_row * columns + first_column;
    float along_lanes[256];
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float scaled_eps = s->scaled_eps;
    const float of_mean = s->of_mean;
    const float of_grad = s->of_grad;
    float value = workspace[value_at_2];
    const float grad_coefficient = s->grad_coefficient;
    const int64_t whole = tile_width - tile_width % 1024;
    const int64_t width = lanes_for(tile_width - whole, 256);
    for (int64_t r = 0; r < height; r++) {
        for (int64_t chunk = 0; chunk < whole; chunk += 1024) {
            const int64_t along_line = along_at + (first_column + chunk) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < 256; lane++) {
                float along_lane = 0;
                for (int64_t start = chunk; start < chunk + 1024; start += 256) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float param = params[i];
                    float grad = grad_coefficient * grads[i];
                    float exp_avg = exp_avgs[i];
                    float exp_avg_sq = exp_avg_sqs[i];
                    exp_avg = beta1 * exp_avg + rest1 * grad;
                    exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
                    float denom = sqrtf(exp_avg_sq) + scaled_eps;
                    float direction = (of_mean * exp_avg + of_grad * grad) / denom;
                    float finite = finite_or_zero(param);
                    along_lane = along_lane + (value ? finite * direction : 0);
                }
                along_lanes[lane] = along_lane;
            }
            workspace[along_line + r] = fold(along_lanes, 256);
        }
        if (whole < tile_width) {
            const int64_t along_line = along_at + (first_column + whole) / 1024 * size + first_row;
            for (int64_t lane = 0; lane < width; lane++) {
                along_lanes[lane] = 0;
            }
            for (int64_t start = whole; start < tile_width; start += 256) {
                for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                    const int64_t column = start + lane;
                    const int64_t i = r * columns + column;
                    float param = params[i];
                    float grad = grad_coefficient * grads[i];
                    float exp_avg = exp_avgs[i];
                    float exp_avg_sq = exp_avg_sqs[i];
                    exp_avg = beta1 * exp_avg + rest1 * grad;
                    exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
                    float denom = sqrtf(exp_avg_sq) + scaled_eps;
                    float direction = (of_mean * exp_avg + of_grad * grad) / denom;
                    float finite = finite_or_zero(param);
                    along_lanes[lane] = along_lanes[lane] + (value ? finite * direction : 0);
                }
            }
            workspace[along_line + r] = fold(along_lanes, width);
        }
    }
}

static void adamp_fold2(const adamp_scalars *s, int64_t size, int64_t columns, float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t product_at = 0;
    const int64_t grad_square_at = product_at + chunks * size;
    const int64_t square_at = grad_square_at + chunks * size;
    const int64_t along_at = square_at + chunks * size;
    const int64_t total0_at = along_at + chunks * size;
    const int64_t total1_at = total0_at + strips;
    const int64_t norms_at = total1_at + strips;
    const int64_t in_row_at = norms_at + size;
    const int64_t value_at = in_row_at + size;
    const int64_t total2_at = value_at + size;
    const int64_t total3_at = total2_at + strips;
    const int64_t value_at_2 = total3_at + strips;
    const int64_t x_at = value_at_2 + 1;
    const int64_t row_share_at = x_at + size;
    const int64_t total4_at = row_share_at + size;
    const int64_t share_at = total4_at + strips;
    add_lines(workspace + along_at, chunks, size);
    for (int64_t r = 0; r < size; r++) {
        float row_share = workspace[along_at + r] / (workspace[x_at + r] * workspace[x_at + r]);
        workspace[row_share_at + r] = row_share;
    }
    sum_as_row(workspace + along_at, size, workspace + total4_at);
    float total1 = workspace[total1_at];
    float total2 = workspace[total2_at];
    float total4 = workspace[total4_at];
    const float least = s->least;
    float whole_square = total1;
    float in_all_rows = total2 == 0 ? 1 : 0;
    float x = sqrtf(whole_square) + least;
    float whole_share = total4 / (x * x);
    for (int64_t r = 0; r < size; r++) {
        float share = in_all_rows == 1 ? workspace[row_share_at + r] : whole_share;
        workspace[share_at + r] = share;
    }
}

static void adamp_pass2(
    const adamp_scalars *s, int64_t index, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t across = (columns + 16383) / 16384;
    const int64_t first_row = index / across * 64;
    const int64_t first_column = index % across * 16384;
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    const int64_t product_at = 0;
    const int64_t grad_square_at = product_at + chunks * size;
    const int64_t square_at = grad_square_at + chunks * size;
    const int64_t along_at = square_at + chunks * size;
    const int64_t total0_at = along_at + chunks * size;
    const int64_t total1_at = total0_at + strips;
    const int64_t norms_at = total1_at + strips;
    const int64_t in_row_at = norms_at + size;
    const int64_t value_at = in_row_at + size;
    const int64_t total2_at = value_at + size;
    const int64_t total3_at = total2_at + strips;
    const int64_t value_at_2 = total3_at + strips;
    const int64_t x_at = value_at_2 + 1;
    const int64_t row_share_at = x_at + size;
    const int64_t total4_at = row_share_at + size;
    const int64_t share_at = total4_at + strips;
    const int64_t value_at_3 = share_at + size;
    const int64_t height = (size - first_row < 64 ? size - first_row : 64);
    const int64_t tile_width = (16384 < columns - first_column ? 16384 : columns - first_column);
    params += first_row * columns + first_column;
    grads += first_row * columns + first_column;
    exp_avgs += first_row * columns + first_column;
    exp_avg_sqs += first_row * columns + first_column;
    const float beta1 = s->beta1;
    const float rest1 = s->rest1;
    const float beta2 = s->beta2;
    const float rest2 = s->rest2;
    const float step_size = s->step_size;
    const float scaled_eps = s->scaled_eps;
    const float of_mean = s->of_mean;
    const float of_grad = s->of_grad;
    float value = workspace[value_at_3];
    const float grad_coefficient = s->grad_coefficient;
    for (int64_t r = 0; r < height; r++) {
        float share = workspace[share_at + first_row + r];
        for (int64_t start = 0; start < tile_width; start += 256) {
            for (int64_t lane = 0; lane < (256 < tile_width - start ? 256 : tile_width - start); lane++) {
                const int64_t column = start + lane;
                const int64_t i = r * columns + column;
                float param = params[i];
                float grad = grad_coefficient * grads[i];
                float exp_avg = exp_avgs[i];
                float exp_avg_sq = exp_avg_sqs[i];
                exp_avg = beta1 * exp_avg + rest1 * grad;
                exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
                float denom = sqrtf(exp_avg_sq) + scaled_eps;
                float direction = (of_mean * exp_avg + of_grad * grad) / denom;
                float finite = finite_or_zero(param);
                float delta = step_size * (direction - share * finite) + value * finite;
                params[i] = param - delta;
                exp_avgs[i] = exp_avg;
                exp_avg_sqs[i] = exp_avg_sq;
            }
        }
    }
}

/* How many numbers the workspace of adamp_update holds. */
SAMESTEP_API int64_t adamp_workspace(int64_t size, int64_t columns)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t chunks = (columns + 1023) / 1024;
    return chunks * size + chunks * size + chunks * size + chunks * size + strips + strips + size + size + size + strips + strips + 1 + size + size + strips + size + 1;
}

/* One step of one tensor of size rows by columns. */
SAMESTEP_API void adamp_update(
    const adamp_scalars *s, int64_t size, int64_t columns, float *RESTRICT params,
    const float *RESTRICT grads, float *RESTRICT exp_avgs, float *RESTRICT exp_avg_sqs,
    float *workspace)
{
    const int64_t strips = (size + 63) / 64;
    const int64_t across = (columns + 16383) / 16384;
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        adamp_pass0(s, index, size, columns, params, grads, workspace);
    }
    adamp_fold1(s, size, columns, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        adamp_pass1(s, index, size, columns, params, grads, exp_avgs, exp_avg_sqs, workspace);
    }
    adamp_fold2(s, size, columns, workspace);
#ifdef _OPENMP
#pragma omp parallel for if (size * columns >= SAMESTEP_PARALLEL_FROM)
#endif
    for (int64_t index = 0; index < strips * across; index++) {
        adamp_pass2(s, index, size, columns, params, grads, exp_avgs, exp_avg_sqs, workspace);
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
