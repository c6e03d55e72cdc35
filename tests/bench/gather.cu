// What a gather of 16-byte vectors costs in L1, by which lanes of a warp read which pixel and group: the part of
// dcn_fused that no arithmetic can predict. Positions follow a smooth flow; nothing is interpolated.
//
//   MAPPING 0  as dcn_fused: 8 pixels x 4 groups per load, then the other 4 groups
//   MAPPING 1  4 pixels x 8 groups: whole lines
//   MAPPING 2  32 pixels, one group after the other
//
// x (height, width, 64) halves; out (1) unsigned. Grid: (width / 32, height). Block: 128 threads; warp w of a block
// reads the taps 4 n + w. Every mapping reads the same bytes.
#include "device.cuh"

#ifndef MAPPING
#define MAPPING 0
#endif

extern "C" __global__ void __launch_bounds__(128)
gather(const __half *__restrict__ x, unsigned *out, int height, int width, float slope) {
    const int lane = threadIdx.x % 32, left = blockIdx.x * 32, row = blockIdx.y;
    unsigned sum = 0;
    for (int tap = threadIdx.x / 32; tap < 36; tap += 4) {
        for (int part = 0; part < 8; part++) {  // 32 pixels x 8 groups in 8 loads of a warp
#if MAPPING == 0
            const int pixel = part / 2 * 8 + lane / 4, group = lane % 4 + part % 2 * 4;
#elif MAPPING == 1
            const int pixel = part * 4 + lane / 8, group = lane % 8;
#else
            const int pixel = lane, group = part;
#endif
            const float dx = slope * (float)((left + pixel + 3 * group) % 7), dy = slope * (float)((row + group) % 5);
            const int px = min(max(__float2int_rd((float)(left + pixel + tap % 6 - 2) + dx), 0), width - 1);
            const int py = min(max(__float2int_rd((float)(row + tap / 6 - 2) + dy), 0), height - 1);
            const uint4 v = load16(x + ((size_t)py * width + px) * 64 + group * 8);
            sum += v.x ^ v.y ^ v.z ^ v.w;
        }
    }
    if (sum == 0x12345678u) *out = sum;  // keeps the loads alive
}
