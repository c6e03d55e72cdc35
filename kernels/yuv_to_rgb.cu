// Integer YUV to float RGB: chroma upscaled by a filter that knows where its samples lie, range, matrix.
//
//   y, u, v  bytes or 16-bit words; rows luma_stride and chroma_stride samples apart
//   rgb      floats at channel * channel_stride + y * row_stride + x * pixel_stride: planar or interleaved
//
// Even and odd pixels see chroma at different distances: two phases of four taps, along x and along y. Beyond the
// edges chroma is mirrored, as in zimg. Nothing is clamped: code values outside the range keep what they say.
// Grid: (pixels of a row / 32, rows / 8). Block: 32 x 8 threads, each a pixel.
#include "device.cuh"

#ifndef WORDS  // samples of YUV: 0 bytes, 1 words of 16 bits
#define WORDS 0
#endif

#if WORDS
typedef unsigned short Sample;
#else
typedef unsigned char Sample;
#endif

constexpr int TAPS = 4;

struct Conversion {
    float matrix[3][3];  // from code values less the offset to RGB in 0..1
    float offset[3];
    float filter_x[2][TAPS], filter_y[2][TAPS];  // by the parity of the pixel
    int first_x[2], first_y[2];                  // the first tap, from the chroma sample x / 2
};

__device__ __forceinline__ int mirror(int i, int size) {
    i = i < 0 ? -1 - i : i >= size ? 2 * size - 1 - i : i;
    return min(max(i, 0), size - 1);
}

extern "C" __global__ void __launch_bounds__(256)
yuv_to_rgb(const Sample *__restrict__ y_in, const Sample *__restrict__ u_in, const Sample *__restrict__ v_in,
           float *__restrict__ rgb, const __grid_constant__ Conversion conversion, int height, int width,
           int luma_stride, int chroma_stride, int channel_stride, int row_stride, int pixel_stride, int shift_x,
           int shift_y) {
    const int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 8 + threadIdx.y;
    if (x >= width || y >= height) return;
    float yuv[3] = {(float)y_in[(size_t)y * luma_stride + x] - conversion.offset[0], 0.0f, 0.0f};
    const int taps_x = shift_x ? TAPS : 1, taps_y = shift_y ? TAPS : 1;
    const int phase_x = shift_x ? x % 2 : 0, phase_y = shift_y ? y % 2 : 0;
    for (int j = 0; j < taps_y; j++) {
        const int cy = mirror((y >> shift_y) + conversion.first_y[phase_y] + j, height >> shift_y);
        float u = 0.0f, v = 0.0f;
        for (int i = 0; i < taps_x; i++) {
            const int cx = mirror((x >> shift_x) + conversion.first_x[phase_x] + i, width >> shift_x);
            const size_t at = (size_t)cy * chroma_stride + cx;
            u += conversion.filter_x[phase_x][i] * ((float)u_in[at] - conversion.offset[1]);
            v += conversion.filter_x[phase_x][i] * ((float)v_in[at] - conversion.offset[2]);
        }
        yuv[1] += conversion.filter_y[phase_y][j] * u;
        yuv[2] += conversion.filter_y[phase_y][j] * v;
    }
    float *p = rgb + (size_t)y * row_stride + (size_t)x * pixel_stride;
#pragma unroll
    for (int k = 0; k < 3; k++)
        p[k * (size_t)channel_stride] =
            conversion.matrix[k][0] * yuv[0] + conversion.matrix[k][1] * yuv[1] + conversion.matrix[k][2] * yuv[2];
}
