// The threads of a block as fibers of one CPU thread: each runs up to a barrier, in a chosen order.
#include <csetjmp>
#include <cstdlib>
#include <memory>
#include <ucontext.h>
#include <utility>
#include <vector>

#include "host_shim.h"

namespace {
enum State { ready, waiting, done };
constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t start;
    jmp_buf here;
    std::unique_ptr<char[]> stack;
    State state = done;
    host_index thread;
    bool started = false;
};

std::vector<std::unique_ptr<Fiber>> fibers;
jmp_buf scheduler;
Fiber *current;
void (*kernel)(void **);
void **arguments;

void give_way(State state)
{
    current->state = state;
    if (_setjmp(current->here) == 0) _longjmp(scheduler, 1);
}

void barrier() { give_way(waiting); }

void live()  // a fiber serves one thread after the other, block after block
{
    for (;;) {
        kernel(arguments);
        give_way(done);
    }
}

void turn(Fiber &fiber, host_state *state)
{
    current = &fiber;
    state->thread = fiber.thread;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

void make_fibers(size_t n)
{
    while (fibers.size() < n) {
        auto fiber = std::make_unique<Fiber>();
        fiber->stack = std::make_unique<char[]>(STACK);
        getcontext(&fiber->start);
        fiber->start.uc_stack.ss_sp = fiber->stack.get();
        fiber->start.uc_stack.ss_size = STACK;
        fiber->start.uc_link = nullptr;
        makecontext(&fiber->start, live, 0);
        fibers.push_back(std::move(fiber));
    }
}
}  // namespace

// order: 0 ascending, 1 descending, 2 shuffled by seed. Returns 1 if some threads wait at a barrier
// that others have left without reaching it.
extern "C" int host_launch(
    void (*call)(void **), host_state *state, const unsigned *grid, const unsigned *block, void **args,
    int order, unsigned seed)
{
    const unsigned n = block[0] * block[1] * block[2];
    make_fibers(n);
    kernel = call;
    arguments = args;
    state->barrier = barrier;
    state->grid_size = {grid[0], grid[1], grid[2]};
    state->block_size = {block[0], block[1], block[2]};
    std::vector<unsigned> turns(n);
    for (unsigned i = 0; i < n; i++) turns[i] = order == 1 ? n - 1 - i : i;
    for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
    for (unsigned x = 0; x < grid[0]; x++) {
        state->block = {x, y, z};
        for (unsigned i = 0; i < n; i++) {
            fibers[i]->thread = {i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};
            fibers[i]->state = ready;
        }
        for (;;) {
            for (unsigned i = n - 1; order == 2 && i > 0; i--) {
                seed = seed * 1664525u + 1013904223u;
                std::swap(turns[i], turns[(seed >> 8) % (i + 1)]);
            }
            for (unsigned i : turns)
                if (fibers[i]->state == ready) turn(*fibers[i], state);
            unsigned at_barrier = 0;
            for (unsigned i = 0; i < n; i++) at_barrier += fibers[i]->state == waiting;
            if (at_barrier == 0) break;
            if (at_barrier < n) {
                fibers.clear();  // they hang in the middle of a kernel
                return 1;
            }
            for (unsigned i = 0; i < n; i++) fibers[i]->state = ready;
        }
    }
    return 0;
}
