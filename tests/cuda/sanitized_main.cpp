// Runs launches of the kernels above (printed text, then KERNELS as a list of X(name)): every thread
// of a block is a thread of the system, so that sanitizers see what each of them does. Reads arrays
// and launches from standard input, writes the arrays to standard output.
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#define X(name) HOST_KERNEL(name)
KERNELS
#undef X

static std::barrier<> *meeting;
static void meet() { meeting->arrive_and_wait(); }

static int64_t number()
{
    int64_t value;
    if (fread(&value, sizeof value, 1, stdin) != 1) exit(3);
    return value;
}

static void launch(void (*kernel)(void **), void **arguments, unsigned columns, unsigned rows, unsigned threads)
{
    for (unsigned block = 0; block < columns * rows; block++) {
        std::barrier<> together(threads);
        meeting = &together;
        std::vector<std::thread> running;
        for (unsigned thread = 0; thread < threads; thread++)
            running.emplace_back([=, &together] {
                host_state state = {{thread, 0, 0}, {block % columns, block / columns, 0},
                                    {threads, 1, 1}, {columns, rows, 1}, meet};
                host_now = &state;
                kernel(arguments);
                together.arrive_and_drop();
            });
        for (std::thread &each : running) each.join();
    }
}

int main()
{
    // allocations of their own, each as long as its array: beyond is somebody else's
    std::vector<char *> arrays(number());
    std::vector<int64_t> sizes;
    std::vector<std::unique_ptr<char[]>> owned;
    for (char *&array : arrays) {
        const int64_t offset = number(), size = number();
        owned.emplace_back(new char[offset + size]);
        array = owned.back().get() + offset;
        sizes.push_back(size);
        if (size && fread(array, size, 1, stdin) != 1) return 3;
    }
    for (int64_t k = number(); k > 0; k--) {  // addresses in tables
        const int64_t table = number(), place = number(), target = number(), offset = number();
        *(int64_t *)(arrays[table] + place) = (int64_t)(arrays[target] + offset);
    }
    void (*const kernels[])(void **) = {
#define X(name) host_call_##name,
        KERNELS
    };
    for (int64_t k = number(); k > 0; k--) {
        const int64_t kernel = number(), columns = number(), rows = number(), threads = number();
        std::vector<void *> values(number()), pointers;
        for (void *&value : values) value = arrays[number()];
        for (void *&value : values) pointers.push_back(&value);
        launch(kernels[kernel], pointers.data(), columns, rows, threads);
    }
    for (size_t k = 0; k < arrays.size(); k++)
        if (sizes[k]) fwrite(arrays[k], sizes[k], 1, stdout);
}
