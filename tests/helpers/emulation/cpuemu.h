// Runs CUDA kernels on the CPU: the part of CUDA C++ that kernels/*.cu use, for g++ 12 or later.
//
// Every CUDA thread is a fiber, so that barriers and warp collectives suspend it where it stands; the fibers of a
// block share one CPU thread, and the order in which they run is a parameter, because a missing barrier shows only
// in some orders. What makes a fault visible:
//   - dynamic shared memory is poisoned with 0xFF (NaN) for each block and ends at a guard page;
//   - an asynchronous copy takes place when it is waited for, and not before;
//   - vector accesses are checked for alignment; a barrier that not all threads reach ends the launch;
//   - approximate instructions are off by as much as their specification allows;
//   - a memory fault in a kernel is reported as an error of the launch, not as the end of the process.
// What it cannot show: races inside a warp between barriers on real hardware, and speed.
#pragma once
#define VS_SR_EMULATED

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)

struct uint2 { unsigned x, y; } __attribute__((aligned(8)));
struct uint4 { unsigned x, y, z, w; } __attribute__((aligned(16)));
struct float2 { float x, y; } __attribute__((aligned(8)));
struct uint3 { unsigned x, y, z; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }

namespace {
namespace emu {

constexpr int WARP = 32, MAX_THREADS = 1024, MAX_COPIES = 128;
constexpr size_t STACK = 64 << 10, PAGE = 4096;

enum class Order { forward, reversed, shuffled, greedy };  // greedy: a warp runs until all it can do is wait
enum class State : uint8_t { ready, at_warp, at_block, done };

struct Slot { float f[12], d[4]; unsigned u; };  // what a lane hands to the others of its warp
struct Warp { Slot slot[2][WARP]; int arrived; const char *kind; };
struct Copy { void *to; const void *from; };

struct Fiber {
#ifdef __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
    uint3 thread;
    int lane, phase, copies;
    Warp *warp;
    State state;
    Copy copy[MAX_COPIES];
};

struct Worker {  // one CPU thread; runs one block at a time
    Fiber fiber[MAX_THREADS];
    Warp warp[MAX_THREADS / WARP];
    unsigned char *stacks, *shared_end;
    void (*body)(void *);
    void *body_argument;
    uint3 block, block_size, grid_size;
    size_t shared_bytes;
    int threads;
    Fiber *running;  // null while the scheduler runs
    char *error;
#ifdef __x86_64__
    void *scheduler;
#else
    ucontext_t scheduler;
#endif
};

thread_local Worker *worker;

#ifdef __x86_64__
// Saves the callee-saved registers on this stack, stores its pointer in *from, and continues on the stack `to`.
extern "C" void emu_switch(void **from, void *to);
asm(R"(
    .text
    .type emu_switch, @function
    .hidden emu_switch
emu_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");
void to_scheduler() { emu_switch(&worker->running->sp, worker->scheduler); }
void to_fiber(Fiber &f) { worker->running = &f; emu_switch(&worker->scheduler, f.sp); worker->running = nullptr; }
#else
void to_scheduler() { swapcontext(&worker->running->context, &worker->scheduler); }
void to_fiber(Fiber &f) { worker->running = &f; swapcontext(&worker->scheduler, &f.context); worker->running = nullptr; }
#endif

// Ends the launch with a message; the fiber never runs again.
template <class... A> [[noreturn]] void fail(const char *format, A... a) {
    char text[200];
    snprintf(text, sizeof text, format, a...);
    if (!worker->error[0])
        snprintf(worker->error, 300, "block (%u, %u, %u), thread %u: %s", worker->block.x, worker->block.y,
                 worker->block.z, worker->running ? worker->running->thread.x : 0u, text);
    for (;;) to_scheduler();
}

void start() {
    worker->body(worker->body_argument);
    Fiber &f = *worker->running;
    if (f.copies) fail("ended with asynchronous copies that were never waited for");
    f.state = State::done;
    for (;;) to_scheduler();
}

void prepare(Fiber &f, int index) {
    unsigned char *stack = worker->stacks + index * (STACK + PAGE) + PAGE;
#ifdef __x86_64__
    void **top = reinterpret_cast<void **>(stack + STACK) - 2;  // after the return into start: sp = 8 modulo 16
    *top = reinterpret_cast<void *>(start);
    f.sp = top - 6;
#else
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stack;
    f.context.uc_stack.ss_size = STACK;
    makecontext(&f.context, start, 0);
#endif
    const uint3 n = worker->block_size;
    f.thread = {index % n.x, index / n.x % n.y, index / n.x / n.y};
    f.lane = index % WARP;
    f.warp = &worker->warp[index / WARP];
    f.phase = f.copies = 0;
    f.state = State::ready;
}

void block_barrier() {
    worker->running->state = State::at_block;
    to_scheduler();
}

// Every lane brings a slot, waits for the whole warp, and may then read the slots of the others. Two sets of
// slots suffice: a lane is never two collectives ahead of another one. The last lane to come runs `finish`.
template <class Finish> const Slot *exchange(const char *kind, unsigned mask, const Slot &mine, Finish finish) {
    if (mask != 0xffffffffu) fail("%s with mask %08x: only whole warps are emulated", kind, mask);
    Fiber &f = *worker->running;
    Warp &w = *f.warp;
    if (w.arrived && w.kind != kind) fail("divergent warp: lanes are in %s and in %s", w.kind, kind);
    Slot *all = w.slot[f.phase];
    all[f.lane] = mine;
    f.phase ^= 1;
    w.kind = kind;
    if (++w.arrived < WARP) {
        f.state = State::at_warp;
        to_scheduler();
    } else {
        finish(all);
        w.arrived = 0;
        for (Fiber *other = &f - f.lane, *end = other + WARP; other < end; other++) other->state = State::ready;
    }
    return all;
}

const Slot *exchange(const char *kind, unsigned mask, const Slot &mine) {
    return exchange(kind, mask, mine, [](Slot *) {});
}

unsigned next_random(uint64_t &state) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

// Runs every ready fiber once (greedy: until its warp can only wait); false when none was ready.
bool round(Order order, uint64_t &random) {
    const int n = worker->threads;
    bool any = false;
    const auto step = [&](int i) {
        if (worker->fiber[i].state != State::ready || worker->error[0]) return false;
        to_fiber(worker->fiber[i]);
        return any = true;
    };
    if (order == Order::greedy) {
        const int warps = n / WARP, first = next_random(random) % warps;
        for (int k = 0; k < warps; k++)
            for (bool moved = true; moved;) {
                moved = false;
                for (int i = 0; i < WARP; i++) moved |= step((first + k) % warps * WARP + i);
            }
    } else if (order == Order::shuffled) {
        int permutation[MAX_THREADS];
        for (int i = 0; i < n; i++) permutation[i] = i;
        for (int i = n - 1; i > 0; i--) std::swap(permutation[i], permutation[next_random(random) % (i + 1)]);
        for (int i = 0; i < n; i++) step(permutation[i]);
    } else {
        for (int i = 0; i < n; i++) step(order == Order::forward ? i : n - 1 - i);
    }
    return any;
}

void run_block(Order order, uint64_t random) {
    const int n = worker->threads;
    memset(worker->shared_end - worker->shared_bytes, 0xff, worker->shared_bytes);
    for (int i = 0; i < n / WARP; i++) worker->warp[i].arrived = 0;
    for (int i = 0; i < n; i++) prepare(worker->fiber[i], i);
    while (!worker->error[0]) {
        while (round(order, random)) {}
        int waiting = 0, done = 0;
        for (int i = 0; i < n; i++) {
            waiting += worker->fiber[i].state == State::at_block;
            done += worker->fiber[i].state == State::done;
        }
        if (worker->error[0] || done == n) return;
        if (waiting != n) {
            snprintf(worker->error, 300, "divergent barrier: %d threads of %d wait at it, %d have ended", waiting, n, done);
            return;
        }
        for (int i = 0; i < n; i++) worker->fiber[i].state = State::ready;
    }
}

struct sigaction previous[2];

void on_fault(int number, siginfo_t *info, void *context) {
    if (worker && worker->running) fail("invalid access to address %p", info->si_addr);
    struct sigaction &old = previous[number == SIGBUS];  // not ours: as if this handler were not there
    sigaction(number, &old, nullptr);
    (void)context;
}

struct Launch {
    uint3 grid, block;
    unsigned shared, seed;
    Order order;
    void (*body)(void *);
    void *arguments;
    uint64_t next_block, blocks;
    char *error;
};

void *work(void *pointer) {
    Launch &launch = *static_cast<Launch *>(pointer);
    const int threads = launch.block.x * launch.block.y * launch.block.z;
    const size_t shared = (launch.shared + PAGE - 1) / PAGE * PAGE, stacks = threads * (STACK + PAGE);
    const auto map = [](size_t bytes) {
        return static_cast<unsigned char *>(
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    };
    Worker *w = reinterpret_cast<Worker *>(map(sizeof(Worker)));
    unsigned char *memory = map(shared + PAGE);
    char error[300] = "";
    w->stacks = map(stacks);
    for (int i = 0; i < threads; i++) mprotect(w->stacks + i * (STACK + PAGE), PAGE, PROT_NONE);
    mprotect(memory + shared, PAGE, PROT_NONE);
    w->shared_end = memory + shared;
    w->shared_bytes = launch.shared;
    w->body = launch.body;
    w->body_argument = launch.arguments;
    w->block_size = launch.block;
    w->grid_size = launch.grid;
    w->threads = threads;
    w->error = error;
    worker = w;
    while (!error[0]) {
        const uint64_t i = __atomic_fetch_add(&launch.next_block, 1, __ATOMIC_RELAXED);
        if (i >= launch.blocks) break;
        const uint3 g = launch.grid;
        w->block = {unsigned(i % g.x), unsigned(i / g.x % g.y), unsigned(i / g.x / g.y)};
        run_block(launch.order, launch.seed + i);
    }
    worker = nullptr;
    if (error[0]) {
        __atomic_store_n(&launch.next_block, launch.blocks, __ATOMIC_RELAXED);
        static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_mutex_lock(&mutex);
        snprintf(launch.error, 300, "%s", error);
        pthread_mutex_unlock(&mutex);
    }
    munmap(w->stacks, stacks);
    munmap(memory, shared + PAGE);
    munmap(w, sizeof(Worker));
    return nullptr;
}

// One letter per parameter: p(ointer), i(nt), f(loat), or the size of a struct in bytes.
template <class... A> const char *signature(void (*)(A...)) {
    static char text[256];
    char *end = text;
    const auto add = [&]<class T>(std::type_identity<T>) {
        if constexpr (std::is_pointer_v<T>) *end++ = 'p';
        else if constexpr (std::is_same_v<T, int>) *end++ = 'i';
        else if constexpr (std::is_same_v<T, float>) *end++ = 'f';
        else { static_assert(std::is_class_v<T>, "kernels take pointers, ints, floats and structs"); end += sprintf(end, "(%zu)", sizeof(T)); }
    };
    (add(std::type_identity<A>{}), ...);
    *end = 0;
    return text;
}

// Calls the kernel as cuLaunchKernel does: arguments[i] points to the value of parameter i.
template <class... A> struct Call {
    void (*kernel)(A...);
    void **arguments;
    template <size_t... I> void apply(std::index_sequence<I...>) { kernel(*static_cast<A *>(arguments[I])...); }
    static void body(void *self) { static_cast<Call *>(self)->apply(std::index_sequence_for<A...>{}); }
};

template <class... A>
void launch(void (*kernel)(A...), const unsigned *grid, const unsigned *block, unsigned shared, int order,
            unsigned seed, int cpu_threads, void **arguments, char *error) {
    Call<A...> call{kernel, arguments};
    Launch l{{grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared, seed, Order(order), Call<A...>::body,
             &call, 0, uint64_t(grid[0]) * grid[1] * grid[2], error};
    error[0] = 0;
    const unsigned threads = block[0] * block[1] * block[2];
    if (threads == 0 || threads % WARP || threads > MAX_THREADS || l.blocks == 0 || shared > (227u << 10)) {
        snprintf(error, 300, "%u threads, %u bytes of shared memory: not a launch", threads, shared);
        return;
    }
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &previous[0]);
    sigaction(SIGBUS, &action, &previous[1]);
    pthread_t pool[64];
    cpu_threads = cpu_threads < 1 ? 1 : cpu_threads > 64 ? 64 : cpu_threads;
    for (int i = 0; i < cpu_threads; i++) pthread_create(&pool[i], nullptr, work, &l);
    for (int i = 0; i < cpu_threads; i++) pthread_join(pool[i], nullptr);
    sigaction(SIGSEGV, &previous[0], nullptr);
    sigaction(SIGBUS, &previous[1], nullptr);
}

// The value moved by a fraction of at most 2^-bits, which its own bits decide.
float blur(float value, int bits) {
    unsigned u;
    memcpy(&u, &value, 4);
    u = (u ^ (u >> 15)) * 0x2c1b3c6du;
    u = (u ^ (u >> 12)) * 0x297a2d39u;
    return value * (1.0f + ldexpf(float(int(u)) / 2147483648.0f, -bits));
}

template <class T> const T *aligned(const T *p) {
    if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) fail("%p is not aligned to %zu bytes", (const void *)p, sizeof(T));
    return p;
}

}  // namespace emu
}  // namespace

#define threadIdx (emu::worker->running->thread)
#define blockIdx (emu::worker->block)
#define blockDim (emu::worker->block_size)
#define gridDim (emu::worker->grid_size)
#define VS_SHARED_MEMORY(name) unsigned char *name = emu::worker->shared_end - emu::worker->shared_bytes

// Barriers and warp collectives

static inline void __syncthreads() { emu::block_barrier(); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { emu::exchange("__syncwarp", mask, {}); }
static inline int __all_sync(unsigned mask, int predicate) {
    const emu::Slot *all = emu::exchange("__all_sync", mask, {{}, {}, predicate != 0});
    for (int i = 0; i < emu::WARP; i++)
        if (!all[i].u) return 0;
    return 1;
}
static inline int __any_sync(unsigned mask, int predicate) {
    const emu::Slot *all = emu::exchange("__any_sync", mask, {{}, {}, predicate != 0});
    for (int i = 0; i < emu::WARP; i++)
        if (all[i].u) return 1;
    return 0;
}
template <class T> static inline T emu_shuffle(const char *kind, unsigned mask, T value, int source) {
    static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
    emu::Slot mine = {};
    memcpy(&mine.u, &value, 4);
    const emu::Slot *all = emu::exchange(kind, mask, mine);
    if (source >= 0 && source < emu::WARP) memcpy(&value, &all[source].u, 4);
    return value;
}
#define EMU_LANE (emu::worker->running->lane)
template <class T> static inline T __shfl_sync(unsigned mask, T v, int lane) { return emu_shuffle("__shfl_sync", mask, v, lane & 31); }
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int bits) { return emu_shuffle("__shfl_xor_sync", mask, v, EMU_LANE ^ bits); }
template <class T> static inline T __shfl_down_sync(unsigned mask, T v, int n) { return emu_shuffle("__shfl_down_sync", mask, v, EMU_LANE + n); }
template <class T> static inline T __shfl_up_sync(unsigned mask, T v, int n) { return emu_shuffle("__shfl_up_sync", mask, v, EMU_LANE - n); }

// Halves

struct __half { _Float16 v; };
struct __half2 { __half x, y; } __attribute__((aligned(4)));

static inline float __half2float(__half h) { return float(h.v); }
static inline __half __float2half_rn(float f) { return {_Float16(f)}; }
static inline __half2 __floats2half2_rn(float a, float b) { return {__float2half_rn(a), __float2half_rn(b)}; }
static inline __half2 __float2half2_rn(float a) { return __floats2half2_rn(a, a); }
static inline float2 __half22float2(__half2 h) { return {float(h.x.v), float(h.y.v)}; }
static inline __half emu_fma(__half a, __half b, __half c) {  // rounded once: by way of round-to-odd
    const double exact = double(float(a.v)) * double(float(b.v)) + double(float(c.v));
    float f = float(exact);
    if (double(f) != exact && std::isfinite(f)) {
        uint32_t u;
        memcpy(&u, &f, 4);
        if ((std::fabs(double(f)) > std::fabs(exact))) u--;  // towards zero, then odd
        u |= 1;
        memcpy(&f, &u, 4);
    }
    return {_Float16(f)};
}
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return {emu_fma(a.x, b.x, c.x), emu_fma(a.y, b.y, c.y)}; }
static inline __half2 __hmul2(__half2 a, __half2 b) {  // exact in float, then rounded
    return __floats2half2_rn(float(a.x.v) * float(b.x.v), float(a.y.v) * float(b.y.v));
}

// Numbers

static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline int emu_saturate(float f) {
    return std::isnan(f) ? 0 : f >= 2147483648.0f ? INT32_MAX : f < -2147483648.0f ? INT32_MIN : int(f);
}
static inline int __float2int_rd(float f) { return emu_saturate(std::floor(f)); }
static inline int __float2int_rn(float f) { return emu_saturate(std::nearbyint(f)); }

// What device.cuh wraps

template <class T> static inline T __ldg(const T *p) { return *emu::aligned(p); }
static inline uint4 load16(const void *p) { return *emu::aligned(static_cast<const uint4 *>(p)); }
static inline void store16(void *p, uint4 v) { *const_cast<uint4 *>(emu::aligned(static_cast<const uint4 *>(p))) = v; }
static inline void async_copy16(void *shared, const void *global) {
    emu::Fiber &f = *emu::worker->running;
    if (f.copies == emu::MAX_COPIES) emu::fail("more than %d asynchronous copies in flight", emu::MAX_COPIES);
    emu::aligned(static_cast<const uint4 *>(shared));
    emu::aligned(static_cast<const uint4 *>(global));
    f.copy[f.copies++] = {shared, global};
}
static inline void async_wait() {
    emu::Fiber &f = *emu::worker->running;
    for (int i = 0; i < f.copies; i++) memcpy(f.copy[i].to, f.copy[i].from, 16);
    f.copies = 0;
}
static inline float fast_tanh(float x) { return emu::blur(std::tanh(x), 11); }
static inline float fast_exp(float x) { return emu::blur(std::exp(x), 21); }
static inline float fast_reciprocal(float x) { return emu::blur(1.0f / x, 23); }

// Every lane hands over its 8 halves of a, 4 of b and 4 floats of d; the last one multiplies for all.
static inline void mma_16x8x16(float (&d)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
    const unsigned bits[6] = {a0, a1, a2, a3, b0, b1};
    emu::Slot mine;
    for (int i = 0; i < 6; i++) {
        __half2 pair;
        memcpy(&pair, &bits[i], 4);
        mine.f[2 * i] = float(pair.x.v);
        mine.f[2 * i + 1] = float(pair.y.v);
    }
    memcpy(mine.d, d, sizeof mine.d);
    const emu::Slot *all = emu::exchange("mma", 0xffffffffu, mine, [](emu::Slot *slots) {
        float a[16][16], b[16][8], sum[16][8];
        for (int lane = 0; lane < emu::WARP; lane++) {
            emu::Slot &s = slots[lane];
            const int r = lane / 4, q = lane % 4;
            for (int e = 0; e < 8; e++) a[r + e / 2 % 2 * 8][2 * q + e % 2 + e / 4 * 8] = s.f[e];
            for (int e = 0; e < 4; e++) b[2 * q + e % 2 + e / 2 * 8][r] = s.f[8 + e];
            for (int e = 0; e < 4; e++) sum[r + e / 2 * 8][2 * q + e % 2] = s.d[e];
        }
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++)
                for (int column = 0; column < 8; column++) sum[row][column] += a[row][k] * b[k][column];
        for (int lane = 0; lane < emu::WARP; lane++)
            for (int e = 0; e < 4; e++) slots[lane].d[e] = sum[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2];
    });
    memcpy(d, all[EMU_LANE].d, sizeof mine.d);
}
