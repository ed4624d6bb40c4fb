//// head
#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned int uint32_t;
typedef unsigned short uint16_t;
#else
#include <stdint.h>
#endif
/* an address out of a table, as a pointer to global memory */
#define GLOBAL(type, address) ((type *)__cvta_global_to_generic((size_t)(address)))
//// bits_of

FUNCTION uint32_t @bits_of(float x) { return __float_as_uint(x); }
//// float_of

FUNCTION float @float_of(uint32_t u) { return __uint_as_float(u); }
//// fold

/* the sum of that many lanes of a block, a power of two, by halves; every thread gets it */
FUNCTION REAL @fold(REAL *lanes, int64_t width)
{
    __syncthreads();
    for (width /= 2; width > 0; width /= 2) {
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x)
            lanes[lane] = lanes[lane] + lanes[lane + width];
        __syncthreads();
    }
    const REAL sum = lanes[0];
    __syncthreads();
    return sum;
}
//// total

/* the sum of a vector of up to CHUNK * CHUNK values in the fixed order of a sum over a tensor */
FUNCTION REAL @total(const REAL *values, int64_t n)
{
    __shared__ REAL lanes[LANES], upper[LANES];
    const int64_t chunks = n > CHUNK ? (n + CHUNK - 1) / CHUNK : 1, upper_width = @lanes_for(chunks, LANES);
    for (int lane = threadIdx.x; lane < upper_width; lane += blockDim.x) upper[lane] = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t first = chunk * CHUNK, count = n - first < CHUNK ? n - first : CHUNK;
        const int64_t width = @lanes_for(count, LANES);
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x) {
            REAL sum = 0;
            for (int64_t i = lane; i < count; i += LANES) sum = sum + values[first + i];
            lanes[lane] = sum;
        }
        const REAL sum = @fold(lanes, width);
        if (threadIdx.x == 0) upper[chunk % LANES] = upper[chunk % LANES] + sum;
    }
    return @fold(upper, upper_width);
}
//// fold_strips

/* add up the lines of strips by halves, into line 0; a thread has its own columns */
FUNCTION void @fold_strips(REAL *strips, int64_t width, int64_t columns)
{
    while (width > 1) {
        const int64_t half = (width + 1) / 2;
        for (int64_t strip = 0; strip < width - half; strip++)
            for (int64_t column = threadIdx.x; column < columns; column += blockDim.x)
                strips[strip * columns + column] =
                    strips[strip * columns + column] + strips[(strip + half) * columns + column];
        width = half;
    }
    __syncthreads();
}
//// group

/* N neighbours of an array, moved by loads and stores of up to 16 bytes */
template <int N> struct Width { enum : int { n = N }; };
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Group { T at[N]; };
template <int N, typename T> FUNCTION Group<T, N> load(const T *from)
{
    return *(const Group<T, N> *)from;
}
template <int N, typename T> FUNCTION void store(T *to, const Group<T, N> &group)
{
    *(Group<T, N> *)to = group;
}
/* how many elements stand before the first group of N that is aligned in all arrays; N if none is */
template <int N, typename... T> FUNCTION int before_groups(const T *...arrays)
{
    int before = 0;
    while (before < N && ((((size_t)(arrays + before) % alignof(Group<T, N>)) | ...) != 0)) before++;
    return before;
}
/* call update for all of n elements: for aligned groups of N neighbours, and one by one for what
   stands before and behind them. A thread gets every threads-th group, the first one if it is 0 */
template <int N, typename Update>
FUNCTION void each_group(int64_t n, int before, int64_t thread, int64_t threads, const Update &update)
{
    const int64_t size = before < N ? N : 1, first = before > 0 ? before - N : 0;
    _Pragma("unroll 1")
    for (int64_t i = first + size * thread; i < n; i += size * threads) {
        if (size == N && i >= 0 && i + N <= n) {
            update(Width<N>(), i);
        } else {
            _Pragma("unroll 1")
            for (int64_t j = i > 0 ? i : 0; j < n && j < i + size; j++) update(Width<1>(), j);
        }
    }
}
