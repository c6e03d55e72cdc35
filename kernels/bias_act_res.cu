// What follows a convolution: bias, leaky ReLU, a residual, and a place in a wider buffer.
//
//   out[p, channel + c] = act(in[p, c] + bias[c]) + residual[p, c]
//
//   in        (pixels, channels) halves, channels a multiple of 8
//   bias      (channels) floats, or null
//   residual  as in, or null; may be in itself
//   out       (pixels, out_channels) halves; may be in itself where out_channels equals channels
// slope: 1 for no activation, 0 for ReLU. Grid: vectors / 256. Block: 256 threads, each 8 channels of a pixel.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(256)
bias_act_res(const __half *in, const float *__restrict__ bias, const __half *residual, __half *out, int vectors,
             int channels, int out_channels, int channel, float slope) {
    const int index = blockIdx.x * 256 + threadIdx.x;
    if (index >= vectors) return;
    const int per_pixel = channels / 8, c = index % per_pixel * 8;
    float v[8];
    unpack8(*reinterpret_cast<const uint4 *>(in + (size_t)index * 8), v);
    if (bias) {
        float b[8];
        load8(bias + c, b);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] += b[e];
    }
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] = leaky_relu(v[e], slope);
    if (residual) {
        float r[8];
        unpack8(*reinterpret_cast<const uint4 *>(residual + (size_t)index * 8), r);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] += r[e];
    }
    store16(out + (size_t)(index / per_pixel) * out_channels + channel + c, pack8(v));
}
