// Bilinear upscaling by two (half-pixel centers, edges repeated) times a factor, written into some channels of a
// wider buffer: the concatenation that follows costs nothing.
//
//   in   (B, height, width, channels) halves, channels a multiple of 8
//   out  (B, 2 height, 2 width, out_channels) halves; channels channel ... channel + channels - 1 are written, both
//        multiples of 8
// Grid: (output rows of all images, vectors of a row / 256). Block: 256 threads, each 8 channels of an output pixel.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(256)
up2_into(const __half *__restrict__ in, __half *__restrict__ out, int height, int width, int channels,
         int out_channels, int channel, float scale) {
    const int vectors = channels / 8, index = blockIdx.y * 256 + threadIdx.x;
    const int x = index / vectors, c = index % vectors * 8;
    if (x >= 2 * width) return;
    const int row = blockIdx.x, y = row % (2 * height), image = row / (2 * height);
    // Pixel 2n lies a quarter of the way from n to n - 1, pixel 2n + 1 a quarter of the way to n + 1.
    const int near_y = y / 2, near_x = x / 2;
    const int far_y = min(max(near_y + (y % 2 ? 1 : -1), 0), height - 1);
    const int far_x = min(max(near_x + (x % 2 ? 1 : -1), 0), width - 1);
    const __half *source = in + (size_t)image * height * width * channels + c;
    const auto at = [&](int sy, int sx, float (&v)[8]) { unpack8(load16(source + ((size_t)sy * width + sx) * channels), v); };
    float near_near[8], near_far[8], far_near[8], far_far[8], v[8];
    at(near_y, near_x, near_near);
    at(near_y, far_x, near_far);
    at(far_y, near_x, far_near);
    at(far_y, far_x, far_far);
#pragma unroll
    for (int e = 0; e < 8; e++)
        v[e] = scale * (0.75f * (0.75f * near_near[e] + 0.25f * near_far[e]) +
                        0.25f * (0.75f * far_near[e] + 0.25f * far_far[e]));
    store16(out + ((size_t)row * 2 * width + x) * out_channels + channel + c, pack8(v));
}
