// What the kernels share: 16-byte vectors of eight halves, the tensor core product, asynchronous copies.
//
// The instructions that only a GPU has are wrapped in functions here, and nowhere else. When a kernel is run on
// the CPU, tests/helpers/emulation/cpuemu.h is included first, defines VS_SR_EMULATED, and brings its own versions.
#pragma once

#ifndef VS_SR_EMULATED
#include <cuda_fp16.h>

// Dynamic shared memory, 16-byte aligned; its size is given at launch.
#define VS_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]

// d += a * b on the tensor cores: a is 16x16 (row major), b is 16x8, d is 16x8, halves in, floats out.
// Lane 4*r + q holds a[r][2q..2q+1], a[r+8][2q..], a[r][2q+8..], a[r+8][2q+8..]; b[2q..2q+1][r], b[2q+8..][r];
// d[r][2q..2q+1], d[r+8][2q..]. Needs sm_80.
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                            unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Copy 16 bytes from global to shared memory in the background, until async_wait(). Needs sm_80.
__device__ __forceinline__ void async_copy16(void *shared, const void *global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :: "r"((unsigned)__cvta_generic_to_shared(shared)), "l"(global) : "memory");
}
__device__ __forceinline__ void async_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// 16 bytes of read-only memory, aligned.
__device__ __forceinline__ uint4 load16(const void *p) { return __ldg(static_cast<const uint4 *>(p)); }
__device__ __forceinline__ void store16(void *p, uint4 v) { *static_cast<uint4 *>(p) = v; }

// tanh within 2^-11 of its value, in one instruction. Needs sm_75.
__device__ __forceinline__ float fast_tanh(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// exp and 1/x within 2 units in the last place of a float; exp(x) = inf and 1/inf = 0 as they should.
__device__ __forceinline__ float fast_exp(float x) { return __expf(x); }
__device__ __forceinline__ float fast_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

__device__ __forceinline__ float sigmoid(float x) { return fast_reciprocal(1.0f + fast_exp(-x)); }

__device__ __forceinline__ float leaky_relu(float x, float slope) { return x > 0.0f ? x : x * slope; }

// The same 32 bits as two halves and back.
__device__ __forceinline__ __half2 as_half2(unsigned bits) { return *reinterpret_cast<__half2 *>(&bits); }
__device__ __forceinline__ unsigned as_bits(__half2 pair) { return *reinterpret_cast<unsigned *>(&pair); }

// Eight halves <-> eight floats.
__device__ __forceinline__ void unpack8(uint4 v, float (&f)[8]) {
    const unsigned bits[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 pair = __half22float2(as_half2(bits[i]));
        f[2 * i] = pair.x;
        f[2 * i + 1] = pair.y;
    }
}
__device__ __forceinline__ uint4 pack8(const float (&f)[8]) {
    unsigned bits[4];
#pragma unroll
    for (int i = 0; i < 4; i++) bits[i] = as_bits(__floats2half2_rn(f[2 * i], f[2 * i + 1]));
    return make_uint4(bits[0], bits[1], bits[2], bits[3]);
}

// Eight consecutive floats, 16-byte aligned.
__device__ __forceinline__ void load8(const float *p, float (&f)[8]) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint4 v = load16(p + 4 * i);
        f[4 * i] = __uint_as_float(v.x);
        f[4 * i + 1] = __uint_as_float(v.y);
        f[4 * i + 2] = __uint_as_float(v.z);
        f[4 * i + 3] = __uint_as_float(v.w);
    }
}
