// The samples of any modulated deformable convolution as a matrix, one row per output pixel: with a matrix product
// this is the convolution. For all that dcn_fused does not take: floats, other sizes, cards before sm_80.
//
//   col[p, t, c] = m(p, g(c), t) * x[b(p), stride * p - padding + dilation * t + d(p, g(c), t), c]
//
//   x    (B, height, width, channels)
//   om   (B, out_height, out_width, 3 * groups * taps): per group and tap dy and dx, then per group and tap the mask,
//        as a logit (logits != 0) or as it is used
//   col  (count, taps, channels): rows first ... first + count - 1 of the B * out_height * out_width pixels
//
// All in the same type; positions, interpolation and modulation in float.
// Grid: vectors of channels / 256. Block: 256 threads, each a vector of one pixel and tap.
#include "device.cuh"

#ifndef FLOAT32  // the type: 0 half, 1 float
#define FLOAT32 0
#endif
#ifndef VECTOR  // channels per thread: 1 for 16 bytes of one group, 0 for one channel
#define VECTOR 1
#endif

#if FLOAT32
typedef float Value;
constexpr int LANES = VECTOR ? 4 : 1;
__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ void store(float *p, const float (&v)[1]) { *p = v[0]; }
__device__ __forceinline__ void load(const float *p, float (&v)[1]) { v[0] = __ldg(p); }
__device__ __forceinline__ void load(const float *p, float (&v)[4]) {
    const uint4 bits = load16(p);
    v[0] = __uint_as_float(bits.x);
    v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z);
    v[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void store(float *p, const float (&v)[4]) {
    store16(p, make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3])));
}
#else
typedef __half Value;
constexpr int LANES = VECTOR ? 8 : 1;
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ void load(const __half *p, float (&v)[1]) { v[0] = __half2float(*p); }
__device__ __forceinline__ void store(__half *p, const float (&v)[1]) { *p = __float2half_rn(v[0]); }
__device__ __forceinline__ void load(const __half *p, float (&v)[8]) { unpack8(load16(p), v); }
__device__ __forceinline__ void store(__half *p, const float (&v)[8]) { store16(p, pack8(v)); }
#endif

extern "C" __global__ void __launch_bounds__(256)
dcn_sample(const Value *__restrict__ x, const Value *__restrict__ om, Value *__restrict__ col, int height, int width,
           int channels, int groups, int out_height, int out_width, int kernel_h, int kernel_w, int stride_y,
           int stride_x, int padding_y, int padding_x, int dilation_y, int dilation_x, int logits, int first,
           int count) {
    const int taps = kernel_h * kernel_w, vectors = channels / LANES;
    const int index = blockIdx.x * 256 + threadIdx.x;
    const int channel = index % vectors * LANES, tap = index / vectors % taps, row = index / (vectors * taps);
    if (row >= count) return;
    const int pixel = first + row, out_pixels = out_height * out_width;
    const int image = pixel / out_pixels, out_y = pixel % out_pixels / out_width, out_x = pixel % out_width;

    const int group = channel / (channels / groups), site = group * taps + tap;
    const Value *site_om = om + (size_t)pixel * 3 * groups * taps;
    float y = (float)(out_y * stride_y - padding_y + tap / kernel_w * dilation_y) + to_float(site_om[2 * site]);
    float xx = (float)(out_x * stride_x - padding_x + tap % kernel_w * dilation_x) + to_float(site_om[2 * site + 1]);
    const float mask = to_float(site_om[2 * groups * taps + site]), m = logits ? sigmoid(mask) : mask;

    // Beyond these bounds all corners are outside. fmaxf drops a NaN, which lands outside as well.
    y = fminf(fmaxf(y, -2.0f), (float)(height + 1));
    xx = fminf(fmaxf(xx, -2.0f), (float)(width + 1));
    const int iy = __float2int_rd(y), ix = __float2int_rd(xx);
    const float fy = y - (float)iy, fx = xx - (float)ix;
    const float weight[4] = {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx};

    const Value *source = x + (size_t)image * height * width * channels + channel;
    float sum[LANES] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int cy = iy + i / 2, cx = ix + i % 2;
        if ((unsigned)cy < (unsigned)height && (unsigned)cx < (unsigned)width) {
            float v[LANES];
            load(source + ((size_t)cy * width + cx) * channels, v);
#pragma unroll
            for (int e = 0; e < LANES; e++) sum[e] += weight[i] * v[e];
        }
    }
#pragma unroll
    for (int e = 0; e < LANES; e++) sum[e] *= m;
    store(col + ((size_t)row * taps + tap) * channels + channel, sum);
}
