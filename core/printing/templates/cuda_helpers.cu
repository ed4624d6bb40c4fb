//// head
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
//// finite_or_zero

FUNCTION REAL @finite_or_zero(REAL x) { return fabs(x) <= LARGEST ? x : 0; }
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
    const int64_t chunks = n > CHUNK ? (n + CHUNK - 1) / (uint64_t)CHUNK : 1, upper_width = @lanes_for(chunks, LANES);
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
        if (threadIdx.x == 0) upper[chunk % (uint64_t)LANES] = upper[chunk % (uint64_t)LANES] + sum;
    }
    return @fold(upper, upper_width);
}
//// add_lines

/* add up so many lines of n numbers, that far apart, by neighbours, into the first one. A thread adds
   eight of them at once; those that are missing are +0, which changes no sum */
FUNCTION void @add_lines(REAL *lines, int64_t count, int64_t apart, int64_t n)
{
    const uint32_t width = (uint32_t)n;
    for (int64_t step = 1; step < count; step *= 8) {
        __syncthreads();
        for (uint32_t i = threadIdx.x; n > 0; i += blockDim.x) {
            const int64_t line = i / width * 8 * step;
            if (line >= count) break;
            REAL *const at = lines + line * apart + i % width;
            REAL x[8];
            _Pragma("unroll")
            for (int k = 0; k < 8; k++) x[k] = line + k * step < count ? at[k * step * apart] : 0;
            *at = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
        }
    }
    __syncthreads();
}
//// fold_each

/* fold so many groups of lanes, a power of two each, by halves, into the first lane of each group */
FUNCTION void @fold_each(REAL *lanes, int groups, int width)
{
    int bits = 0;
    while (1 << bits < width) bits++;
    for (int half = bits - 1; half >= 0; half--) {
        __syncthreads();
        for (int i = threadIdx.x; i < groups << half; i += blockDim.x) {
            REAL *const lane = lanes + ((i >> half) << bits) + (i & ((1 << half) - 1));
            *lane = *lane + lane[1 << half];
        }
    }
    __syncthreads();
}
//// largest_lines

/* the largest of so many lines of n numbers, that far apart, into the first one; none is negative */
FUNCTION void @largest_lines(REAL *lines, int64_t count, int64_t apart, int64_t n)
{
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        REAL largest = lines[i];
        for (int64_t line = 1; line < count; line++)
            largest = @larger(lines[line * apart + i], largest);
        lines[i] = largest;
    }
    __syncthreads();
}
//// largest_each

/* the largest of each of so many groups of lanes, a power of two each, into the first lane of the
   group; none is negative */
FUNCTION void @largest_each(REAL *lanes, int groups, int width)
{
    int bits = 0;
    while (1 << bits < width) bits++;
    for (int half = bits - 1; half >= 0; half--) {
        __syncthreads();
        for (int i = threadIdx.x; i < groups << half; i += blockDim.x) {
            REAL *const lane = lanes + ((i >> half) << bits) + (i & ((1 << half) - 1));
            *lane = @larger(lane[1 << half], *lane);
        }
    }
    __syncthreads();
}
//// sum_chunks

/* sum the chunks of a vector that begin in this part of it, each in the order of a sum along a row */
FUNCTION void @sum_chunks(const REAL *values, int64_t first, int64_t end, REAL *sums)
{
    __shared__ REAL lanes[ROW_LANES];
    for (int64_t chunk = first; chunk < end; chunk += ROW_CHUNK) {
        const int64_t count = end - chunk < ROW_CHUNK ? end - chunk : ROW_CHUNK;
        const int64_t width = @lanes_for(count, ROW_LANES);
        __syncthreads();
        for (int lane = threadIdx.x; lane < width; lane += blockDim.x) {
            REAL sum = 0;
            for (int64_t i = lane; i < count; i += ROW_LANES) sum = sum + values[chunk + i];
            lanes[lane] = sum;
        }
        const REAL sum = @fold(lanes, width);
        if (threadIdx.x == 0) sums[chunk / (uint64_t)ROW_CHUNK] = sum;
    }
}
//// random_group

/* the 16 random bits of eight neighbours in an array, of which this element is the first one, as
   halves of words */
struct Random { uint32_t words[4]; };
FUNCTION Random random_group(int64_t seed, int64_t step, int64_t position, int64_t stream, int64_t element)
{
    Random random;
    uint32_t more[4];
    const int before = (int)(element & 7);
    @philox(random.words, seed, step, position, stream, element >> 3);
    if (before == 0) return random; /* as nearly always: one call serves all of them */
    const Random first = random;
    @philox(more, seed, step, position, stream, (element >> 3) + 1);
    _Pragma("unroll")
    for (int i = 0; i < 8; i += 2) {
        const int k = before + i, l = k + 1;
        const uint32_t low = k < 8 ? @half_of(first.words, k) : @half_of(more, k - 8);
        const uint32_t high = l < 8 ? @half_of(first.words, l) : @half_of(more, l - 8);
        random.words[i / 2] = low | high << 16;
    }
    return random;
}
//// width

/* a number that is known when a kernel is compiled */
template <int N> struct Width { enum : int { n = N }; };
//// group

/* N neighbours of an array, moved by loads and stores of up to 16 bytes */
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
//// to_map

/* the code of an element: the number of the map's nearest value, of two the upper one. Unrolled, the
   searches of a thread's elements go side by side, which takes too many registers */
FUNCTION uint8_t @to_map(float x, float inverse, const float *map)
{
    const float part = inverse > 0 ? x * inverse : 0;
    int below = 0; /* the last value that is not above the part */
    _Pragma("unroll 1")
    for (int bit = 128; bit > 0; bit >>= 1) below += part >= map[below + bit] ? bit : 0;
    const int above = below < 255 ? below + 1 : 255;
    return (uint8_t)(part - map[below] >= (map[above] - map[below]) * 0.5f ? above : below);
}
//// in_blocks

/* up to N neighbours of an array, all at once where they are a whole group; which is
   copied by elements, for nvcc 13.0 does not end where one of two ways assigns it as a whole */
template <int N, typename T> FUNCTION Group<T, N> load_some(const T *from, int count, bool whole)
{
    Group<T, N> group = {};
    if (whole) {
        const Group<T, N> found = load<N>(from);
        for (int k = 0; k < N; k++) group.at[k] = found.at[k];
    } else {
        for (int k = 0; k < N; k++)
            if (k < count) group.at[k] = from[k];
    }
    return group;
}
template <int N, typename T> FUNCTION void store_some(T *to, const Group<T, N> &group, int count, bool whole)
{
    if (whole) return store(to, group);
    for (int k = 0; k < N; k++)
        if (k < count) to[k] = group.at[k];
}
/* the bits of the largest element; mask has the sign if none may be negative */
template <int N> FUNCTION uint32_t top_of_group(const Group<float, N> &group, uint32_t mask)
{
    uint32_t top = 0;
    for (int k = 0; k < N; k++) {
        const uint32_t bits = @bits_of(group.at[k] + 0.0f) & mask;
        top = bits > top ? bits : top;
    }
    return top;
}
/* up to N codes of 4 bits, which are two in a byte, the first one in its upper half, each on its own;
   flip is 8 where they have a sign, else 0 */
template <int N>
FUNCTION Group<int8_t, N> unpacked(const uint8_t *pairs, int count, bool whole, int flip)
{
    const Group<uint8_t, N / 2> found = load_some<N / 2>(pairs, (count + 1) / 2, whole);
    Group<int8_t, N> codes;
    for (int k = 0; k < N; k++) {
        const int code = k % 2 ? found.at[k / 2] & 15 : found.at[k / 2] >> 4;
        codes.at[k] = (int8_t)((code ^ flip) - flip);
    }
    return codes;
}
/* store a thread's part of a block, which so many THREADS have; tops are those of all threads, and
   code is what ENCODE takes: the largest code, or a map. Codes are one or two PER_BYTE */
template <auto ENCODE, int THREADS, int PER_BYTE, int N, typename Code>
FUNCTION void store_in_block(
    const Group<float, N> &values, const uint32_t *tops, int count, bool whole, uint8_t *codes,
    float *scale, Code code)
{
    const uint32_t *const tops_of_block = tops + threadIdx.x / THREADS * THREADS;
    uint32_t top = 0;
    _Pragma("unroll")
    for (int k = 0; k < THREADS; k++) top = tops_of_block[k] > top ? tops_of_block[k] : top;
    const float found = @scale_of_block(top), inverse = found > 0 ? 1 / found : 0;
    if (threadIdx.x % THREADS == 0 && count > 0) *scale = found;
    Group<uint8_t, N / PER_BYTE> group = {};
    for (int k = 0; k < N; k++) {
        const uint8_t one = ENCODE(values.at[k], inverse, code);
        if (PER_BYTE == 1) group.at[k] = one;
        else group.at[k / 2] |= (uint8_t)((one & 15) << (k % 2 ? 0 : 4));
    }
    store_some(codes, group, (count + PER_BYTE - 1) / PER_BYTE, whole);
}
