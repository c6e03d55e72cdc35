// The entry points of one emulated kernel. g++ is told VS_KERNEL_FILE (quoted) and VS_KERNEL (the function).
#include "cpuemu.h"
#include VS_KERNEL_FILE

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char *emu_signature() { return emu::signature(VS_KERNEL); }

EXPORT void emu_launch(const unsigned *grid, const unsigned *block, unsigned shared, int order, unsigned seed,
                       int cpu_threads, void **arguments, char *error) {
    emu::launch(VS_KERNEL, grid, block, shared, order, seed, cpu_threads, arguments, error);
}
