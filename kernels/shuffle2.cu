// Pixel shuffle by two with bias and leaky ReLU, after a convolution whose output channels were permuted once from
// (c, dy, dx) to (dy, dx, c): in this order a pixel's four parts go to the output as they are, in one run each.
//
//   out[b, 2 y + dy, 2 x + dx, c] = act(in[b, y, x, (2 dy + dx) * channels + c] + bias[(2 dy + dx) * channels + c])
//
//   in    (B, height, width, 4 * channels) halves, channels a multiple of 8
//   bias  (4 * channels) floats, or null
//   out   (B, 2 height, 2 width, channels) halves
// Grid: (output rows of all images, vectors of a row / 256). Block: 256 threads, each 8 channels of an output pixel.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(256)
shuffle2(const __half *__restrict__ in, const float *__restrict__ bias, __half *__restrict__ out, int width,
         int channels, float slope) {
    const int vectors = channels / 8, index = blockIdx.y * 256 + threadIdx.x;
    const int x = index / vectors, channel = index % vectors * 8, y = blockIdx.x;
    if (x >= 2 * width) return;
    const int source_channel = (2 * (y % 2) + x % 2) * channels + channel;
    float v[8];
    unpack8(load16(in + ((size_t)(y / 2) * width + x / 2) * 4 * channels + source_channel), v);
    if (bias) {
        float b[8];
        load8(bias + source_channel, b);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] += b[e];
    }
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] = leaky_relu(v[e], slope);
    store16(out + ((size_t)y * 2 * width + x) * channels + channel, pack8(v));
}
