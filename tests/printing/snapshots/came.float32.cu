/* came: update of float32 parameters with float32 gradients.
 *
 * Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization, arXiv:2307.02047,
 * Algorithm 2.
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

extern "C" __global__ void __launch_bounds__(256, 3) came_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float row_lanes[2048];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t sum0_at = tensor[8];
    const int64_t sum1_at = tensor[9];
    const float eps1 = rows[row * 11 + 7];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t sum0_line = sum0_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t sum1_line = sum1_at + first_row / (uint64_t)64 * columns + first_column;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = 0; first < height; first += groups * 64) {
            float sum1_columns[wide.n] = {};
            for (int part = 0; part < 64 && first + part < height; part += 8) {
                _Pragma("unroll 1")
                for (int j = 0; j < 8; j++) {
                    const int r = first + group * 64 + part + j;
                    float sum0_lane = 0;
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
                            float grad = grad_coefficient * grad_row[k];
                            float square = grad * grad + eps1;
                            if (inside) sum0_lane = sum0_lane + square;
                            sum1_columns[k] = sum1_columns[k] + square;
                        }
                    }
                    row_lanes[((group) * 8 + j) * lanes + lane] = sum0_lane;
                }
                fold_each(row_lanes, 8 * groups, lanes);
                for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                    const int r = first + j / 8 * 64 + part + j % 8;
                    if (r < height) {
                        workspace[sum0_line + r] = row_lanes[j * lanes];
                    }
                }
                __syncthreads();
            }
            if (first + group * 64 < height) {
                _Pragma("unroll")
                for (int k = 0; k < wide.n; k++) {
                    if (lane + 256 * k < tile_width) {
                        const int64_t at = (first / 64u + group) * columns + lane + 256 * k;
                        workspace[sum1_line + at] = sum1_columns[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
    add_lines(workspace + sum1_line, (height + 63) / (uint64_t)64, columns, tile_width);
}

extern "C" __global__ void __launch_bounds__(256) came_fold1_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t sum0_at = tensor[8];
    const int64_t sum1_at = tensor[9];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + sum0_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (size + tile_rows - 1) / (uint64_t)tile_rows, share = (uint32_t)(tile_width + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_row / (uint64_t)tile_rows * share, left = tile_width - before;
        add_lines(workspace + sum1_at + first_column + before, tiles, tile_rows / (uint64_t)64 * columns, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold1_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *exp_avg_sq_rows = GLOBAL(float, tensor[4]);
    float *exp_avg_sq_cols = GLOBAL(float, tensor[5]);
    const int64_t sum0_at = tensor[8];
    const int64_t sum1_at = tensor[9];
    const int64_t exp_avg_sq_row_at = tensor[13];
    const int64_t exp_avg_sq_col_at = tensor[14];
    const int64_t total0_at = tensor[15];
    const int64_t col_factor_at = tensor[17];
    const float beta2 = rows[row * 11 + 3];
    const float rest2 = rows[row * 11 + 4];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float exp_avg_sq_row = beta2 * exp_avg_sq_rows[r] + rest2 * (workspace[sum0_at + r] / (float)(columns));
            workspace[exp_avg_sq_row_at + r] = exp_avg_sq_row;
        }
    }
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float exp_avg_sq_col = beta2 * exp_avg_sq_cols[column] + rest2 * (workspace[sum1_at + column] / (float)(size));
            workspace[exp_avg_sq_col_at + column] = exp_avg_sq_col;
            float col_factor = 1 / sqrtf(exp_avg_sq_col);
            workspace[col_factor_at + column] = col_factor;
        }
    }
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + exp_avg_sq_row_at, first_row, end, workspace + total0_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold1_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)rows;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 27;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t total0_at = tensor[15];
    add_lines(workspace + total0_at, (size + 1023) / (uint64_t)1024, 1, 1);
}

extern "C" __global__ void __launch_bounds__(256) came_fold1_part2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    const int64_t exp_avg_sq_row_at = tensor[13];
    const int64_t total0_at = tensor[15];
    const int64_t row_factor_at = tensor[16];
    float total0 = workspace[total0_at];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float row_factor = 1 / sqrtf(workspace[exp_avg_sq_row_at + r] / (total0 / (float)(size)));
            workspace[row_factor_at + r] = row_factor;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 3) came_pass1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    alignas(16) __shared__ float row_lanes[2048];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t sum2_at = tensor[10];
    const int64_t row_factor_at = tensor[16];
    const int64_t col_factor_at = tensor[17];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t sum2_line = sum2_at + first_column / (uint64_t)1024 * size + first_row;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                float sum2_lane = 0;
                if (r < height && lane < tile_width) {
                    float row_factor = workspace[row_factor_at + first_row + r];
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
                        float col_factor = workspace[col_factor_at + first_column + column];
                        float grad = grad_coefficient * grad_row[k];
                        float update_2 = grad * row_factor * col_factor;
                        if (inside) sum2_lane = sum2_lane + update_2 * update_2;
                    }
                }
                row_lanes[((group) * 8 + j) * lanes + lane] = sum2_lane;
            }
            fold_each(row_lanes, 8 * groups, lanes);
            for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                const int r = first + j;
                if (r < height) {
                    workspace[sum2_line + r] = row_lanes[j * lanes];
                }
            }
            __syncthreads();
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}

extern "C" __global__ void __launch_bounds__(256) came_fold2_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t sum2_at = tensor[10];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + sum2_at + first_row + before, tiles, size, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold2_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    const int64_t sum2_at = tensor[10];
    const int64_t total1_at = tensor[18];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + sum2_at, first_row, end, workspace + total1_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold2_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)rows;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 27;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t total1_at = tensor[18];
    add_lines(workspace + total1_at, (size + 1023) / (uint64_t)1024, 1, 1);
}

extern "C" __global__ void __launch_bounds__(256) came_fold2_part2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int64_t row_factor_at = tensor[16];
    const int64_t total1_at = tensor[18];
    const int64_t row_factor_at_2 = tensor[19];
    float total1 = workspace[total1_at];
    const float clip_threshold = rows[row * 11 + 9];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float row_factor = workspace[row_factor_at + r] / maximum(sqrtf(total1 / (float)(size * columns)) / clip_threshold, 1);
            workspace[row_factor_at_2 + r] = row_factor;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2) came_pass2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float row_lanes[2048];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    const int64_t sum3_at = tensor[11];
    const int64_t sum4_at = tensor[12];
    const int64_t col_factor_at = tensor[17];
    const int64_t row_factor_at_2 = tensor[19];
    const float beta1 = rows[row * 11 + 1];
    const float rest1 = rows[row * 11 + 2];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t sum3_line = sum3_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t sum4_line = sum4_at + first_row / (uint64_t)64 * columns + first_column;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = 0; first < height; first += groups * 64) {
            float sum4_columns[wide.n] = {};
            for (int part = 0; part < 64 && first + part < height; part += 8) {
                _Pragma("unroll 1")
                for (int j = 0; j < 8; j++) {
                    const int r = first + group * 64 + part + j;
                    float sum3_lane = 0;
                    if (r < height && lane < tile_width) {
                        float row_factor = workspace[row_factor_at_2 + first_row + r];
                        const int64_t at = r * columns;
                        float grad_row[wide.n];
                        float exp_avg_row[wide.n];
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            grad_row[k] = grads[at + column];
                            exp_avg_row[k] = exp_avgs[at + column];
                        }
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            float col_factor = workspace[col_factor_at + first_column + column];
                            float grad = grad_coefficient * grad_row[k];
                            float exp_avg = exp_avg_row[k];
                            float update_2 = grad * row_factor * col_factor;
                            exp_avg = beta1 * exp_avg + rest1 * update_2;
                            float residual = (update_2 - exp_avg) * (update_2 - exp_avg);
                            exp_avg_row[k] = exp_avg;
                            if (inside) sum3_lane = sum3_lane + residual;
                            sum4_columns[k] = sum4_columns[k] + residual;
                        }
                        _Pragma("unroll")
                        for (int k = 0; k < wide.n; k++) {
                            const bool inside = lane + 256 * k < tile_width;
                            const int column = inside ? lane + 256 * k : lane;
                            if (inside) exp_avgs[at + column] = exp_avg_row[k];
                        }
                    }
                    row_lanes[((group) * 8 + j) * lanes + lane] = sum3_lane;
                }
                fold_each(row_lanes, 8 * groups, lanes);
                for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                    const int r = first + j / 8 * 64 + part + j % 8;
                    if (r < height) {
                        workspace[sum3_line + r] = row_lanes[j * lanes];
                    }
                }
                __syncthreads();
            }
            if (first + group * 64 < height) {
                _Pragma("unroll")
                for (int k = 0; k < wide.n; k++) {
                    if (lane + 256 * k < tile_width) {
                        const int64_t at = (first / 64u + group) * columns + lane + 256 * k;
                        workspace[sum4_line + at] = sum4_columns[k];
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
    add_lines(workspace + sum4_line, (height + 63) / (uint64_t)64, columns, tile_width);
}

extern "C" __global__ void __launch_bounds__(256) came_fold3_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    const int64_t sum3_at = tensor[11];
    const int64_t sum4_at = tensor[12];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + sum3_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (size + tile_rows - 1) / (uint64_t)tile_rows, share = (uint32_t)(tile_width + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_row / (uint64_t)tile_rows * share, left = tile_width - before;
        add_lines(workspace + sum4_at + first_column + before, tiles, tile_rows / (uint64_t)64 * columns, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold3_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *exp_avg_res_rows = GLOBAL(float, tensor[6]);
    float *exp_avg_res_cols = GLOBAL(float, tensor[7]);
    const int64_t sum3_at = tensor[11];
    const int64_t sum4_at = tensor[12];
    const int64_t row_at = tensor[20];
    const int64_t col_at = tensor[21];
    const int64_t exp_avg_res_row_at = tensor[22];
    const int64_t exp_avg_res_col_at = tensor[23];
    const int64_t total2_at = tensor[24];
    const int64_t col_factor_at_2 = tensor[26];
    const float beta3 = rows[row * 11 + 5];
    const float rest3 = rows[row * 11 + 6];
    const float eps2 = rows[row * 11 + 8];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float row_2 = workspace[sum3_at + r] / (float)(columns) + eps2;
            workspace[row_at + r] = row_2;
            float exp_avg_res_row = beta3 * exp_avg_res_rows[r] + rest3 * row_2;
            workspace[exp_avg_res_row_at + r] = exp_avg_res_row;
        }
    }
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float col = workspace[sum4_at + column] / (float)(size) + eps2;
            workspace[col_at + column] = col;
            float exp_avg_res_col = beta3 * exp_avg_res_cols[column] + rest3 * col;
            workspace[exp_avg_res_col_at + column] = exp_avg_res_col;
            float col_factor = 1 / sqrtf(exp_avg_res_col);
            workspace[col_factor_at_2 + column] = col_factor;
        }
    }
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + exp_avg_res_row_at, first_row, end, workspace + total2_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) came_fold3_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)rows;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 27;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t total2_at = tensor[24];
    add_lines(workspace + total2_at, (size + 1023) / (uint64_t)1024, 1, 1);
}

extern "C" __global__ void __launch_bounds__(256) came_fold3_part2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    const int64_t exp_avg_res_row_at = tensor[22];
    const int64_t total2_at = tensor[24];
    const int64_t row_factor_at_3 = tensor[25];
    float total2 = workspace[total2_at];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float row_factor = 1 / sqrtf(workspace[exp_avg_res_row_at + r] / (total2 / (float)(size)));
            workspace[row_factor_at_3 + r] = row_factor;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) came_pass3(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    const int64_t row_factor_at_3 = tensor[25];
    const int64_t col_factor_at_2 = tensor[26];
    const float lr = rows[row * 11 + 0];
    const float decay = rows[row * 11 + 10];
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                if (r < height && lane < tile_width) {
                    float row_factor = workspace[row_factor_at_3 + first_row + r];
                    const int64_t at = r * columns;
                    float param_row[wide.n];
                    float exp_avg_row[wide.n];
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        param_row[k] = params[at + column];
                        exp_avg_row[k] = exp_avgs[at + column];
                    }
                    _Pragma("unroll")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        float col_factor = workspace[col_factor_at_2 + first_column + column];
                        float param = param_row[k];
                        float exp_avg = exp_avg_row[k];
                        float step_2 = lr * (exp_avg * row_factor * col_factor);
                        param_row[k] = param - (step_2 + decay * finite_or_zero(param));
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

extern "C" __global__ void __launch_bounds__(256) came_fold4_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 8;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[5] * 27;
    const int64_t first_row = chunk[6];
    const int64_t first_column = chunk[7];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *exp_avg_sq_rows = GLOBAL(float, tensor[4]);
    float *exp_avg_sq_cols = GLOBAL(float, tensor[5]);
    float *exp_avg_res_rows = GLOBAL(float, tensor[6]);
    float *exp_avg_res_cols = GLOBAL(float, tensor[7]);
    const int64_t exp_avg_sq_row_at = tensor[13];
    const int64_t exp_avg_sq_col_at = tensor[14];
    const int64_t exp_avg_res_row_at = tensor[22];
    const int64_t exp_avg_res_col_at = tensor[23];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float exp_avg_sq_row = workspace[exp_avg_sq_row_at + r];
            float exp_avg_res_row = workspace[exp_avg_res_row_at + r];
            exp_avg_sq_rows[r] = exp_avg_sq_row;
            exp_avg_res_rows[r] = exp_avg_res_row;
        }
    }
    if (first_row == 0) {
        const int64_t end = first_column + tile_width;
        for (int64_t column = first_column + threadIdx.x; column < end; column += blockDim.x) {
            float exp_avg_sq_col = workspace[exp_avg_sq_col_at + column];
            float exp_avg_res_col = workspace[exp_avg_res_col_at + column];
            exp_avg_sq_cols[column] = exp_avg_sq_col;
            exp_avg_res_cols[column] = exp_avg_res_col;
        }
    }
}
