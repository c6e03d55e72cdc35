// Loops that are compiled twice, for every x86-64 processor and for those with AVX2. The compilers' own way
// (target_clones, __builtin_cpu_supports) needs a run-time part that not all of them link.
//
// Both give the same bits: the build allows no contraction of products and sums.
#pragma once

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#define VSSR_X86 1
#else
#define VSSR_X86 0
#endif

// A loop for onBest(): becomes part of whatever calls it.
#if defined(__GNUC__) || defined(__clang__)
#define VSSR_LOOP __attribute__((always_inline)) inline
#else
#define VSSR_LOOP inline
#endif

namespace vssr {

#if VSSR_X86

// Whether the processor has AVX2 and the system keeps its registers.
inline bool findAvx2() {
    constexpr unsigned xsaveIsUsed = 1u << 27, avx = 1u << 28, avx2 = 1u << 5, bothHalves = 6;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (xsaveIsUsed | avx)) != (xsaveIsUsed | avx))
        return false;
    unsigned kept, high;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    return (kept & bothHalves) == bothHalves && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & avx2);
}

inline const bool hasAvx2 = findAvx2();

template <auto loop, typename... Arguments>
__attribute__((target("avx2"))) void onAvx2(Arguments... arguments) {
    loop(arguments...);
}

// Calls a VSSR_LOOP, which takes and gives nothing but numbers and pointers.
template <auto loop, typename... Arguments>
inline void onBest(Arguments... arguments) {
    if (hasAvx2)
        onAvx2<loop>(arguments...);
    else
        loop(arguments...);
}

#else

template <auto loop, typename... Arguments>
inline void onBest(Arguments... arguments) {
    loop(arguments...);
}

#endif

}  // namespace vssr
