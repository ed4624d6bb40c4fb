/* apollo_mini: update of float32 parameters with float32 gradients.
 *
 * Zhu et al., APOLLO: SGD-like Memory, AdamW-level Performance, arXiv:2412.05270, Algorithm 1.
 *
 * Printed by samestep from the rule's own text; do not edit.
 */
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef signed char int8_t;
typedef unsigned char uint8_t;
#else
#include <stdint.h>
#endif
/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))

static __device__ __forceinline__ float finite_or_zero(float x) { return fabs(x) <= 3.4028234663852886e+38f ? x : 0; }

static __device__ __forceinline__ float maximum(float a, float b) { return a != a ? a : (b != b ? b : (a > b ? a : b)); }

/* four random words, Philox4x32-10: by the seed and the step, of one call of an array's */
static __device__ __forceinline__ void philox(
    uint32_t *words, int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t call)
{
    uint32_t a = (uint32_t)call, b = (uint32_t)(call >> 32), c = (uint32_t)position, d = (uint32_t)stream;
    uint32_t key = (uint32_t)seed, other_key = (uint32_t)step;
    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)a * 0xD2511F53, q = (uint64_t)c * 0xCD9E8D57;
        a = (uint32_t)(q >> 32) ^ b ^ key;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ other_key;
        d = (uint32_t)p;
        key += 0x9E3779B9;
        other_key += 0xBB67AE85;
    }
    words[0] = a;
    words[1] = b;
    words[2] = c;
    words[3] = d;
}

/* the 16 bits of one of the eight neighbours that four random words are for */
static __device__ __forceinline__ uint32_t half_of(const uint32_t *words, int k)
{
    const uint32_t word = k & 4 ? (k & 2 ? words[3] : words[2]) : (k & 2 ? words[1] : words[0]);
    return k & 1 ? word >> 16 : word & 0xFFFF;
}

/* the 16 random bits of one element of an array; one call serves eight neighbours */
static __device__ __forceinline__ uint32_t random_of(int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t element)
{
    uint32_t words[4];
    philox(words, seed, step, position, stream, element >> 3);
    return half_of(words, (int)(element & 7));
}

/* 1 or -1 for one row or column of a matrix, by a seed and how often the signs were renewed */
static __device__ __forceinline__ int random_sign(int64_t seed, int64_t renewal, int64_t index)
{
    return 1 - 2 * (int)(random_of(seed, renewal, 0, 0xFFFFFFFF, index) >> 15);
}

/* the sum of that many lanes of a block, a power of two, by halves; every thread gets it */
static __device__ __forceinline__ float fold(float *lanes, int64_t width)
{
    __syncthreads();
    for (width /= 2; width > 0; width /= 2) {
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x)
            lanes[lane] = lanes[lane] + lanes[lane + width];
        __syncthreads();
    }
    const float sum = lanes[0];
    __syncthreads();
    return sum;
}

/* how many of the lanes a sum of n elements needs: the others stay +0 */
static __device__ __forceinline__ int64_t lanes_for(int64_t n, int64_t lanes)
{
    int64_t width = 1;
    while (width < n && width < lanes) width *= 2;
    return width;
}

/* add up so many lines of n numbers, that far apart, by neighbours, into the first one. A thread adds
   eight of them at once; those that are missing are +0, which changes no sum */
static __device__ __forceinline__ void add_lines(float *lines, int64_t count, int64_t apart, int64_t n)
{
    const uint32_t width = (uint32_t)n;
    for (int64_t step = 1; step < count; step *= 8) {
        __syncthreads();
        for (uint32_t i = threadIdx.x; n > 0; i += blockDim.x) {
            const int64_t line = i / width * 8 * step;
            if (line >= count) break;
            float *const at = lines + line * apart + i % width;
            float x[8];
            _Pragma("unroll")
            for (int k = 0; k < 8; k++) x[k] = line + k * step < count ? at[k * step * apart] : 0;
            *at = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
        }
    }
    __syncthreads();
}

/* fold so many groups of lanes, a power of two each, by halves, into the first lane of each group */
static __device__ __forceinline__ void fold_each(float *lanes, int groups, int width)
{
    int bits = 0;
    while (1 << bits < width) bits++;
    for (int half = bits - 1; half >= 0; half--) {
        __syncthreads();
        for (int i = threadIdx.x; i < groups << half; i += blockDim.x) {
            float *const lane = lanes + ((i >> half) << bits) + (i & ((1 << half) - 1));
            *lane = *lane + lane[1 << half];
        }
    }
    __syncthreads();
}

/* sum the chunks of a vector that begin in this part of it, each in the order of a sum along a row */
static __device__ __forceinline__ void sum_chunks(const float *values, int64_t first, int64_t end, float *sums)
{
    __shared__ float lanes[256];
    for (int64_t chunk = first; chunk < end; chunk += 1024) {
        const int64_t count = end - chunk < 1024 ? end - chunk : 1024;
        const int64_t width = lanes_for(count, 256);
        __syncthreads();
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x) {
            float sum = 0;
            for (int64_t i = lane; i < count; i += 256) sum = sum + values[chunk + i];
            lanes[lane] = sum;
        }
        const float sum = fold(lanes, width);
        if (threadIdx.x == 0) sums[chunk / (uint64_t)1024] = sum;
    }
}

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold0_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_row = chunk[5];
    const int64_t first_column = chunk[6];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t signs_at = tensor[9];
    const float seed = rows[row * 11 + 7];
    const float renewal = rows[row * 11 + 8];
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float signs = (float)(random_sign((int64_t)seed, (int64_t)renewal, column));
            workspace[signs_at + column] = signs;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 3) apollo_mini_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    alignas(16) __shared__ float row_lanes[4096];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_row = chunk[5];
    const int64_t first_column = chunk[6];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t low_rank_at = tensor[7];
    const int64_t sum1_at = tensor[8];
    const int64_t signs_at = tensor[9];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t low_rank_line = low_rank_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t sum1_line = sum1_at + first_column / (uint64_t)1024 * size + first_row;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                float low_rank_lane = 0;
                float sum1_lane = 0;
                if (r < height && lane < tile_width) {
                    const int64_t at = r * columns;
                    float grad_row[wide.n];
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        grad_row[k] = grads[at + column];
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        float signs = workspace[signs_at + first_column + column];
                        float grad = grad_coefficient * grad_row[k];
                        if (inside) low_rank_lane = low_rank_lane + grad * signs;
                        if (inside) sum1_lane = sum1_lane + grad * grad;
                    }
                }
                row_lanes[((group) * 8 + j) * lanes + lane] = low_rank_lane;
                row_lanes[((1 * groups + group) * 8 + j) * lanes + lane] = sum1_lane;
            }
            fold_each(row_lanes, 16 * groups, lanes);
            for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                const int r = first + j;
                if (r < height) {
                    workspace[low_rank_line + r] = row_lanes[j * lanes];
                    workspace[sum1_line + r] = row_lanes[(1 * 8u * groups + j) * lanes];
                }
            }
            __syncthreads();
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold1_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_row = chunk[5];
    const int64_t first_column = chunk[6];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t low_rank_at = tensor[7];
    const int64_t sum1_at = tensor[8];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + low_rank_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + sum1_at + first_row + before, tiles, size, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold1_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_row = chunk[5];
    const int64_t first_column = chunk[6];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    float *exp_avgs = GLOBAL(float, tensor[4]);
    float *exp_avg_sqs = GLOBAL(float, tensor[5]);
    const int64_t low_rank_at = tensor[7];
    const int64_t sum1_at = tensor[8];
    const int64_t exp_avg_at = tensor[10];
    const int64_t exp_avg_sq_at = tensor[11];
    const int64_t direction_at = tensor[12];
    const int64_t value_at = tensor[13];
    const int64_t total0_at = tensor[14];
    const int64_t value_at_2 = tensor[15];
    const int64_t total1_at = tensor[16];
    const int64_t total2_at = tensor[17];
    const float beta1 = rows[row * 11 + 0];
    const float rest1 = rows[row * 11 + 1];
    const float beta2 = rows[row * 11 + 2];
    const float rest2 = rows[row * 11 + 3];
    const float eps = rows[row * 11 + 4];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float exp_avg = beta1 * exp_avgs[r] + rest1 * workspace[low_rank_at + r];
            workspace[exp_avg_at + r] = exp_avg;
            float exp_avg_sq = beta2 * exp_avg_sqs[r] + rest2 * (workspace[low_rank_at + r] * workspace[low_rank_at + r]);
            workspace[exp_avg_sq_at + r] = exp_avg_sq;
            float direction = exp_avg / (sqrtf(exp_avg_sq) + eps);
            workspace[direction_at + r] = direction;
            float value = direction * direction;
            workspace[value_at + r] = value;
            float value_2 = workspace[low_rank_at + r] * workspace[low_rank_at + r];
            workspace[value_at_2 + r] = value_2;
        }
    }
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + value_at, first_row, end, workspace + total0_at);
        sum_chunks(workspace + value_at_2, first_row, end, workspace + total1_at);
        sum_chunks(workspace + sum1_at, first_row, end, workspace + total2_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold1_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 19;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    if (row < 0 || control[1] != 0) return;
    float *update_norms = GLOBAL(float, tensor[6]);
    const int64_t total0_at = tensor[14];
    const int64_t total1_at = tensor[16];
    const int64_t total2_at = tensor[17];
    const int64_t value_at_3 = tensor[18];
    const float step_size = rows[row * 11 + 5];
    const float norm_growth = rows[row * 11 + 9];
    const float limited = rows[row * 11 + 10];
    add_lines(workspace + total0_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total0 = workspace[total0_at];
    add_lines(workspace + total1_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total1 = workspace[total1_at];
    float factor = sqrtf(total0) / (sqrtf(total1) + 9.99999993922529e-09f);
    add_lines(workspace + total2_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total2 = workspace[total2_at];
    float full_norm = sqrtf(total2) * factor;
    float growth = maximum(full_norm / (update_norms[0] + 9.99999993922529e-09f), norm_growth) / norm_growth;
    float limiter = limited > 0 ? growth : 1;
    float value = step_size * (factor / limiter);
    if (threadIdx.x == 0) workspace[value_at_3] = value;
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_pass1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_column = chunk[6];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t value_at_3 = tensor[18];
    const float decay = rows[row * 11 + 6];
    float value = workspace[value_at_3];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                if (r < height && lane < tile_width) {
                    const int64_t at = r * columns;
                    float param_row[wide.n];
                    float grad_row[wide.n];
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        param_row[k] = params[at + column];
                        grad_row[k] = grads[at + column];
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        float param = param_row[k];
                        float grad = grad_coefficient * grad_row[k];
                        float delta = value * grad;
                        param_row[k] = param - (delta + decay * finite_or_zero(param));
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        if (inside) params[at + column] = param_row[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold2_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 7;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[4] * 19;
    const int64_t first_row = chunk[5];
    const int64_t first_column = chunk[6];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    float *exp_avgs = GLOBAL(float, tensor[4]);
    float *exp_avg_sqs = GLOBAL(float, tensor[5]);
    const int64_t exp_avg_at = tensor[10];
    const int64_t exp_avg_sq_at = tensor[11];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            exp_avgs[r] = workspace[exp_avg_at + r];
            exp_avg_sqs[r] = workspace[exp_avg_sq_at + r];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) apollo_mini_fold2_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 19;
    const int64_t row = tensor[0];
    if (row < 0 || control[1] != 0) return;
    float *update_norms = GLOBAL(float, tensor[6]);
    const int64_t total0_at = tensor[14];
    const int64_t total1_at = tensor[16];
    const int64_t total2_at = tensor[17];
    float total0 = workspace[total0_at];
    float total1 = workspace[total1_at];
    float total2 = workspace[total2_at];
    const float norm_growth = rows[row * 11 + 9];
    const float limited = rows[row * 11 + 10];
    float factor = sqrtf(total0) / (sqrtf(total1) + 9.99999993922529e-09f);
    float full_norm = sqrtf(total2) * factor;
    float growth = maximum(full_norm / (update_norms[0] + 9.99999993922529e-09f), norm_growth) / norm_growth;
    float limiter = limited > 0 ? growth : 1;
    __syncthreads();
    if (threadIdx.x == 0) {
        update_norms[0] = full_norm / limiter;
    }
}
