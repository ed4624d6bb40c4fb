/* As much of CUDA's runtime as exported files need, on the CPU, for g++ -std=c++17.
 *
 * A block's threads are fibers that switch at __syncthreads, in ascending or (CUDA_ON_CPU_REVERSED)
 * descending order. A stream does nothing until somebody waits for it, as late as a real one may:
 * memory that is written too early is noticed. Fresh memory is full of NaN. */
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
inline uint32_t __float_as_uint(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
inline void *__cvta_global_to_generic(size_t address) { return (void *)address; }

namespace cuda_on_cpu {

struct Fiber {
    ucontext_t context;
    bool done;
};
inline std::vector<Fiber> fibers;
inline std::vector<char> stacks;
inline ucontext_t scheduler;
inline unsigned current;
inline const std::function<void()> *body;

inline void enter()
{
    (*body)();
    fibers[current].done = true;
    swapcontext(&fibers[current].context, &scheduler);
}

/* Round after round: every thread that has not returned runs up to its next barrier. */
inline void run_block(unsigned threads, const std::function<void()> &kernel)
{
    const size_t size = 1 << 16;
    static const bool reversed = getenv("CUDA_ON_CPU_REVERSED") != nullptr;
    body = &kernel;
    fibers.resize(threads);
    stacks.resize(threads * size);
    for (unsigned t = 0; t < threads; t++) {
        Fiber &fiber = fibers[t];
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = &stacks[t * size];
        fiber.context.uc_stack.ss_size = size;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned alive = threads; alive;) {
        alive = 0;
        for (unsigned k = 0; k < threads; k++) {
            current = reversed ? threads - 1 - k : k;
            if (fibers[current].done) continue;
            threadIdx = dim3(current, 0, 0);
            swapcontext(&scheduler, &fibers[current].context);
            alive += !fibers[current].done;
        }
        if (alive && alive < threads) {
            fprintf(stderr, "some threads of a block wait at a barrier that others never reach\n");
            abort();
        }
    }
}

inline std::deque<std::function<void()>> stream;
inline long begun, ended; /* how much was put into the stream, how much of it is done */

inline void put(std::function<void()> work)
{
    stream.push_back(std::move(work));
    begun++;
}

inline void wait_until(long count)
{
    for (; ended < count; ended++) {
        stream.front()();
        stream.pop_front();
    }
}

template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, unsigned threads, A... arguments)
{
    put([=] {
        gridDim = grid;
        blockDim = dim3(threads);
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = dim3(x, y);
                run_block(threads, [=] { kernel(arguments...); });
            }
    });
}

} // namespace cuda_on_cpu

inline void __syncthreads()
{
    const unsigned me = cuda_on_cpu::current;
    swapcontext(&cuda_on_cpu::fibers[me].context, &cuda_on_cpu::scheduler);
    threadIdx = dim3(me, 0, 0);
}

using cudaStream_t = void *;
using cudaEvent_t = long *;
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum { cudaEventDisableTiming, cudaDevAttrMultiProcessorCount };

inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "out of memory" : "invalid value";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaMalloc(void **memory, size_t size)
{
    static const char *limit = getenv("CUDA_ON_CPU_ALLOCATIONS");
    static long left = limit ? atol(limit) : 1L << 30;
    if (left-- <= 0) return cudaErrorMemoryAllocation;
    *memory = malloc(size);
    memset(*memory, 0xFF, size);
    return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void **memory, size_t size) { return cudaMalloc(memory, size); }
template <typename T> cudaError_t cudaMallocManaged(T **memory, size_t size)
{
    return cudaMalloc((void **)memory, size);
}
inline cudaError_t cudaDeviceSynchronize()
{
    cuda_on_cpu::wait_until(cuda_on_cpu::begun);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void *memory)
{
    cudaDeviceSynchronize();
    free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void *memory) { return memory ? cudaFree(memory) : cudaErrorInvalidValue; }
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind, cudaStream_t)
{
    cuda_on_cpu::put([=] { memcpy(to, from, size); });
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind kind)
{
    cudaMemcpyAsync(to, from, size, kind, nullptr);
    return cudaDeviceSynchronize();
}
inline cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t)
{
    cuda_on_cpu::put([=] { memset(memory, value, size); });
    return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new long(0);
    return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    *event = cuda_on_cpu::begun;
    return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cuda_on_cpu::wait_until(*event);
    return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int *value, int, int) { return *value = 3, cudaSuccess; }
