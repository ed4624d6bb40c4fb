/* adamp: update of float32 parameters with float32 gradients.
 *
 * Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
 * Weights, arXiv:2006.08217, Algorithm 2.
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

extern "C" __global__ void __launch_bounds__(256, 3) adamp_pass0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    alignas(16) __shared__ float row_lanes[6144];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    const int64_t product_at = tensor[4];
    const int64_t grad_square_at = tensor[5];
    const int64_t square_at = tensor[6];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t product_line = product_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t grad_square_line = grad_square_at + first_column / (uint64_t)1024 * size + first_row;
    const int64_t square_line = square_at + first_column / (uint64_t)1024 * size + first_row;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                float product_lane = 0;
                float grad_square_lane = 0;
                float square_lane = 0;
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
                        const bool inside = lane + 256 * k < tile_width;
                        float param = param_row[k];
                        float grad = grad_coefficient * grad_row[k];
                        float finite = finite_or_zero(param);
                        if (inside) product_lane = product_lane + finite * grad;
                        if (inside) grad_square_lane = grad_square_lane + grad * grad;
                        if (inside) square_lane = square_lane + finite * finite;
                    }
                }
                row_lanes[((group) * 8 + j) * lanes + lane] = product_lane;
                row_lanes[((1 * groups + group) * 8 + j) * lanes + lane] = grad_square_lane;
                row_lanes[((2 * groups + group) * 8 + j) * lanes + lane] = square_lane;
            }
            fold_each(row_lanes, 24 * groups, lanes);
            for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                const int r = first + j;
                if (r < height) {
                    workspace[product_line + r] = row_lanes[j * lanes];
                    workspace[grad_square_line + r] = row_lanes[(1 * 8u * groups + j) * lanes];
                    workspace[square_line + r] = row_lanes[(2 * 8u * groups + j) * lanes];
                }
            }
            __syncthreads();
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold1_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t product_at = tensor[4];
    const int64_t grad_square_at = tensor[5];
    const int64_t square_at = tensor[6];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + product_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + grad_square_at + first_row + before, tiles, size, (left < share ? left : share));
    }
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + square_at + first_row + before, tiles, size, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold1_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t tile_rows = tensor[3];
    const int64_t product_at = tensor[4];
    const int64_t grad_square_at = tensor[5];
    const int64_t square_at = tensor[6];
    const int64_t total0_at = tensor[8];
    const int64_t total1_at = tensor[9];
    const int64_t norms_at = tensor[10];
    const int64_t in_row_at = tensor[11];
    const int64_t value_at = tensor[12];
    const int64_t total2_at = tensor[13];
    const int64_t total3_at = tensor[14];
    const int64_t x_at = tensor[16];
    const float delta = rows[row * 12 + 6];
    const float least = rows[row * 12 + 8];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float norms = maximum(sqrtf(workspace[grad_square_at + r]), least) * maximum(sqrtf(workspace[square_at + r]), least);
            workspace[norms_at + r] = norms;
            float in_row = fabsf(workspace[product_at + r] / norms) < delta / sqrtf((float)(columns)) ? 1 : 0;
            workspace[in_row_at + r] = in_row;
            float value = 1 - in_row;
            workspace[value_at + r] = value;
            float x = sqrtf(workspace[square_at + r]) + least;
            workspace[x_at + r] = x;
        }
    }
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + product_at, first_row, end, workspace + total0_at);
        sum_chunks(workspace + square_at, first_row, end, workspace + total1_at);
        sum_chunks(workspace + value_at, first_row, end, workspace + total2_at);
        sum_chunks(workspace + grad_square_at, first_row, end, workspace + total3_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold1_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 21;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    if (row < 0 || control[1] != 0) return;
    const int64_t total0_at = tensor[8];
    const int64_t total1_at = tensor[9];
    const int64_t total2_at = tensor[13];
    const int64_t total3_at = tensor[14];
    const int64_t value_at_2 = tensor[15];
    const int64_t value_at_3 = tensor[20];
    const float delta = rows[row * 12 + 6];
    const float wd_ratio = rows[row * 12 + 7];
    const float least = rows[row * 12 + 8];
    const float decay = rows[row * 12 + 11];
    add_lines(workspace + total0_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total0 = workspace[total0_at];
    float whole_product = total0;
    add_lines(workspace + total1_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total1 = workspace[total1_at];
    float whole_square = total1;
    add_lines(workspace + total2_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total2 = workspace[total2_at];
    float in_all_rows = total2 == 0 ? 1 : 0;
    add_lines(workspace + total3_at, (size + 1023) / (uint64_t)1024, 1, 1);
    float total3 = workspace[total3_at];
    float grad_square = total3;
    float norms = maximum(sqrtf(grad_square), least) * maximum(sqrtf(whole_square), least);
    float in_whole = fabsf(whole_product / norms) < delta / sqrtf((float)(size * columns)) ? 1 : 0;
    float in_any = maximum(in_all_rows, in_whole);
    float value = in_any == 1;
    if (threadIdx.x == 0) workspace[value_at_2] = value;
    float ratio = in_any == 1 ? wd_ratio : 1;
    float value_2 = decay * ratio;
    if (threadIdx.x == 0) workspace[value_at_3] = value_2;
}

extern "C" __global__ void __launch_bounds__(256, 3) adamp_pass1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    alignas(16) __shared__ float row_lanes[2048];
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    float *exp_avg_sqs = GLOBAL(float, chunk[5]);
    const int64_t along_at = tensor[7];
    const int64_t value_at_2 = tensor[15];
    const float beta1 = rows[row * 12 + 0];
    const float rest1 = rows[row * 12 + 1];
    const float beta2 = rows[row * 12 + 2];
    const float rest2 = rows[row * 12 + 3];
    const float scaled_eps = rows[row * 12 + 5];
    const float of_mean = rows[row * 12 + 9];
    const float of_grad = rows[row * 12 + 10];
    float value = workspace[value_at_2];
    const float grad_coefficient = (float)(coefficients[row] * control[0]);
    const int64_t along_line = along_at + first_column / (uint64_t)1024 * size + first_row;
    const int lanes = (int)lanes_for(tile_width, 256);
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    const auto update = [&](auto wide) {
        for (int first = (int)blockIdx.y * groups * 8; first < height; first += (int)gridDim.y * groups * 8) {
            _Pragma("unroll 1")
            for (int j = 0; j < 8; j++) {
                const int r = first + group * 8 + j;
                float along_lane = 0;
                if (r < height && lane < tile_width) {
                    const int64_t at = r * columns;
                    _Pragma("unroll 2")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        float param_row;
                        float grad_row;
                        float exp_avg_row;
                        float exp_avg_sq_row;
                        param_row = params[at + column];
                        grad_row = grads[at + column];
                        exp_avg_row = exp_avgs[at + column];
                        exp_avg_sq_row = exp_avg_sqs[at + column];
                        float param = param_row;
                        float grad = grad_coefficient * grad_row;
                        float exp_avg = exp_avg_row;
                        float exp_avg_sq = exp_avg_sq_row;
                        exp_avg = beta1 * exp_avg + rest1 * grad;
                        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
                        float denom = sqrtf(exp_avg_sq) + scaled_eps;
                        float direction = (of_mean * exp_avg + of_grad * grad) / denom;
                        float finite = finite_or_zero(param);
                        if (inside) along_lane = along_lane + (value ? finite * direction : 0);
                    }
                }
                row_lanes[((group) * 8 + j) * lanes + lane] = along_lane;
            }
            fold_each(row_lanes, 8 * groups, lanes);
            for (unsigned j = threadIdx.x; j < 8u * groups; j += blockDim.x) {
                const int r = first + j;
                if (r < height) {
                    workspace[along_line + r] = row_lanes[j * lanes];
                }
            }
            __syncthreads();
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold2_sums(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t columns = tensor[2];
    const int64_t along_at = tensor[7];
    {
        const int64_t tiles = (columns + 1023) / (uint64_t)1024, share = (uint32_t)(height + tiles - 1) / (uint32_t)tiles;
        const int64_t before = first_column / (uint64_t)1024 * share, left = height - before;
        add_lines(workspace + along_at + first_row + before, tiles, size, (left < share ? left : share));
    }
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold2_part0(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)rows;
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    const int64_t along_at = tensor[7];
    const int64_t x_at = tensor[16];
    const int64_t row_share_at = tensor[17];
    const int64_t total4_at = tensor[18];
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float row_share = workspace[along_at + r] / (workspace[x_at + r] * workspace[x_at + r]);
            workspace[row_share_at + r] = row_share;
        }
    }
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        sum_chunks(workspace + along_at, first_row, end, workspace + total4_at);
    }
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold2_part1(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)table;
    (void)rows;
    (void)coefficients;
    const int64_t *tensor = tensors + (int64_t)blockIdx.x * 21;
    const int64_t row = tensor[0];
    const int64_t size = tensor[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t total4_at = tensor[18];
    add_lines(workspace + total4_at, (size + 1023) / (uint64_t)1024, 1, 1);
}

extern "C" __global__ void __launch_bounds__(256) adamp_fold2_part2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    (void)coefficients;
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t size = tensor[1];
    const int64_t tile_rows = tensor[3];
    const int64_t total1_at = tensor[9];
    const int64_t total2_at = tensor[13];
    const int64_t row_share_at = tensor[17];
    const int64_t total4_at = tensor[18];
    const int64_t share_at = tensor[19];
    float total1 = workspace[total1_at];
    float total2 = workspace[total2_at];
    float total4 = workspace[total4_at];
    const float least = rows[row * 12 + 8];
    float whole_square = total1;
    float in_all_rows = total2 == 0 ? 1 : 0;
    float x = sqrtf(whole_square) + least;
    float whole_share = total4 / (x * x);
    if (first_column == 0 && first_row % 1024 == 0) {
        const int64_t end = (size < first_row + (tile_rows < 1024 ? 1024 : tile_rows) ? size : first_row + (tile_rows < 1024 ? 1024 : tile_rows));
        for (int64_t r = first_row + threadIdx.x; r < end; r += blockDim.x) {
            float share_2 = in_all_rows == 1 ? workspace[row_share_at + r] : whole_share;
            workspace[share_at + r] = share_2;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 3) adamp_pass2(
    const int64_t *__restrict__ table, const float *__restrict__ rows,
    const double *__restrict__ coefficients, const double *__restrict__ control,
    const int64_t *__restrict__ tensors, float *workspace)
{
    const int64_t *chunk = table + (int64_t)blockIdx.x * 9;
    const int64_t row = chunk[0];
    const int height = (int)chunk[1];
    if (row < 0 || control[1] != 0) return;
    const int64_t *tensor = tensors + chunk[6] * 21;
    const int64_t first_row = chunk[7];
    const int64_t first_column = chunk[8];
    const int64_t columns = tensor[2];
    const int tile_width = (int)(1024 < columns - first_column ? 1024 : columns - first_column);
    float *params = GLOBAL(float, chunk[2]);
    const float *grads = GLOBAL(const float, chunk[3]);
    float *exp_avgs = GLOBAL(float, chunk[4]);
    float *exp_avg_sqs = GLOBAL(float, chunk[5]);
    const int64_t share_at = tensor[19];
    const int64_t value_at_3 = tensor[20];
    const float beta1 = rows[row * 12 + 0];
    const float rest1 = rows[row * 12 + 1];
    const float beta2 = rows[row * 12 + 2];
    const float rest2 = rows[row * 12 + 3];
    const float step_size = rows[row * 12 + 4];
    const float scaled_eps = rows[row * 12 + 5];
    const float of_mean = rows[row * 12 + 9];
    const float of_grad = rows[row * 12 + 10];
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
                    float share_2 = workspace[share_at + first_row + r];
                    const int64_t at = r * columns;
                    _Pragma("unroll 2")
                    for (int k = 0; k < wide.n; k++) {
                        const bool inside = lane + 256 * k < tile_width;
                        const int column = inside ? lane + 256 * k : lane;
                        float param_row;
                        float grad_row;
                        float exp_avg_row;
                        float exp_avg_sq_row;
                        param_row = params[at + column];
                        grad_row = grads[at + column];
                        exp_avg_row = exp_avgs[at + column];
                        exp_avg_sq_row = exp_avg_sqs[at + column];
                        float param = param_row;
                        float grad = grad_coefficient * grad_row;
                        float exp_avg = exp_avg_row;
                        float exp_avg_sq = exp_avg_sq_row;
                        exp_avg = beta1 * exp_avg + rest1 * grad;
                        exp_avg_sq = beta2 * exp_avg_sq + rest2 * (grad * grad);
                        float denom = sqrtf(exp_avg_sq) + scaled_eps;
                        float direction = (of_mean * exp_avg + of_grad * grad) / denom;
                        float finite = finite_or_zero(param);
                        float delta = step_size * (direction - share_2 * finite) + value * finite;
                        param_row = param - delta;
                        exp_avg_row = exp_avg;
                        exp_avg_sq_row = exp_avg_sq;
                        if (inside) params[at + column] = param_row;
                        if (inside) exp_avgs[at + column] = exp_avg_row;
                        if (inside) exp_avg_sqs[at + column] = exp_avg_sq_row;
                    }
                }
            }
        }
    };
    if (tile_width > 256) update(Width<4>());
    else update(Width<1>());
}
