/* Enough of CUDA C++ for g++ to compile printed kernels as they are: g++ -include host_shim.h.
 * Threads of a block take turns (host_threads.cpp); a barrier gives the turn away. */
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static

struct host_index { unsigned x, y, z; };
struct host_state {
    host_index thread, block, block_size, grid_size;
    void (*barrier)();
};
static host_state *host_now; /* of each module: an inline variable would be one for all */
#define threadIdx (host_now->thread)
#define blockIdx (host_now->block)
#define blockDim (host_now->block_size)
#define gridDim (host_now->grid_size)

static inline void __syncthreads() { host_now->barrier(); }
static inline float __uint_as_float(unsigned u) { float x; memcpy(&x, &u, 4); return x; }
static inline unsigned __float_as_uint(float x) { unsigned u; memcpy(&u, &x, 4); return u; }
static inline void *__cvta_global_to_generic(size_t address) { return (void *)address; }

/* a kernel called with the addresses of its arguments, and how large each of them is */
template <class... A> struct host_kernel {
    template <size_t... I> static void go(void (*f)(A...), void **a, std::index_sequence<I...>)
    {
        f(*(std::remove_const_t<A> *)a[I]...);
    }
    static void call(void (*f)(A...), void **a) { go(f, a, std::index_sequence_for<A...>{}); }
    static int sizes(void (*)(A...), int *sizes)
    {
        int n = 0;
        ((sizes[n++] = (int)sizeof(A)), ...);
        return n;
    }
};
template <class... A> static host_kernel<A...> host_kind(void (*)(A...)) { return {}; }
#define HOST_KERNEL(f)                                                                          \
    extern "C" void host_call_##f(void **a) { decltype(host_kind(f))::call(f, a); }             \
    extern "C" int host_sizes_##f(int *sizes) { return decltype(host_kind(f))::sizes(f, sizes); }
#define HOST_MODULE extern "C" void host_use(host_state *state) { host_now = state; }
