// Float RGB to integer YUV: matrix, range, and chroma made smaller by a filter that knows where chroma samples lie.
// The integers that leave the card are a fourth to an eighth of the bytes of the floats.
//
//   rgb      floats at channel * channel_stride + y * row_stride + x * pixel_stride: planar or interleaved
//   y, u, v  bytes or 16-bit words; rows luma_stride and chroma_stride samples apart
//
// A block makes 32 x 8 chroma samples and the luma above them: U and V of the pixels that the filter reaches go to
// shared memory, are filtered along x, then along y. Beyond the edges the image is mirrored, as in zimg.
// Grid: tiles (x, y). Block: 256 threads. Shared memory: 2 floats for each pixel the filter reaches, and 2 for each
// of its rows times 32.
#include "device.cuh"

#ifndef WORDS  // samples of YUV: 0 bytes, 1 words of 16 bits
#define WORDS 0
#endif

#if WORDS
typedef unsigned short Sample;
#else
typedef unsigned char Sample;
#endif

constexpr int TILE_X = 32, TILE_Y = 8, TAPS = 8, FIRST = -3;  // chroma at c: luma 2c - 3 ... 2c + 4

struct Conversion {
    float matrix[3][3];  // from RGB in 0..1 to code values, before the offset
    float offset[3];
    float peak;          // the largest code value
    float filter_x[TAPS], filter_y[TAPS];
};

__device__ __forceinline__ int mirror(int i, int size) {
    i = i < 0 ? -1 - i : i >= size ? 2 * size - 1 - i : i;
    return min(max(i, 0), size - 1);
}

__device__ __forceinline__ Sample code(float v, float peak) {
    return (Sample)__float2int_rn(fminf(fmaxf(v, 0.0f), peak));
}

extern "C" __global__ void __launch_bounds__(256)
rgb_to_yuv(const float *__restrict__ rgb, Sample *__restrict__ y_out, Sample *__restrict__ u_out,
           Sample *__restrict__ v_out, const __grid_constant__ Conversion conversion, int height, int width,
           int channel_stride, int row_stride, int pixel_stride, int luma_stride, int chroma_stride, int shift_x,
           int shift_y) {
    VS_SHARED_MEMORY(shared);
    const int taps_x = shift_x ? TAPS : 1, taps_y = shift_y ? TAPS : 1;
    const int reach_x = ((TILE_X - 1) << shift_x) + taps_x, reach_y = ((TILE_Y - 1) << shift_y) + taps_y;
    const int margin_x = shift_x ? -FIRST : 0, margin_y = shift_y ? -FIRST : 0;
    const int left = (blockIdx.x * TILE_X) << shift_x, top = (blockIdx.y * TILE_Y) << shift_y;
    float *u_full = reinterpret_cast<float *>(shared), *v_full = u_full + reach_x * reach_y;
    float *u_rows = v_full + reach_x * reach_y, *v_rows = u_rows + TILE_X * reach_y;

    for (int i = threadIdx.x; i < reach_x * reach_y; i += 256) {
        const int x = left + i % reach_x - margin_x, y = top + i / reach_x - margin_y;
        const float *p = rgb + (size_t)mirror(y, height) * row_stride + (size_t)mirror(x, width) * pixel_stride;
        const float r = p[0], g = p[channel_stride], b = p[2 * (size_t)channel_stride];
        float yuv[3];
#pragma unroll
        for (int k = 0; k < 3; k++)
            yuv[k] = conversion.matrix[k][0] * r + conversion.matrix[k][1] * g + conversion.matrix[k][2] * b;
        u_full[i] = yuv[1];
        v_full[i] = yuv[2];
        const bool own = x >= left && x < left + (TILE_X << shift_x) && y >= top && y < top + (TILE_Y << shift_y);
        if (own && x < width && y < height)
            y_out[(size_t)y * luma_stride + x] = code(yuv[0] + conversion.offset[0], conversion.peak);
    }
    __syncthreads();  // U and V of all pixels in reach

    for (int i = threadIdx.x; i < TILE_X * reach_y; i += 256) {
        const int from = i / TILE_X * reach_x + (i % TILE_X << shift_x);
        float u = 0.0f, v = 0.0f;
        for (int k = 0; k < taps_x; k++) {
            u += conversion.filter_x[k] * u_full[from + k];
            v += conversion.filter_x[k] * v_full[from + k];
        }
        u_rows[i] = u;
        v_rows[i] = v;
    }
    __syncthreads();  // rows are filtered

    const int cx = threadIdx.x % TILE_X, cy = threadIdx.x / TILE_X;
    const int x = blockIdx.x * TILE_X + cx, y = blockIdx.y * TILE_Y + cy;
    if (x >= width >> shift_x || y >= height >> shift_y) return;
    float u = 0.0f, v = 0.0f;
    for (int k = 0; k < taps_y; k++) {
        const int at = ((cy << shift_y) + k) * TILE_X + cx;
        u += conversion.filter_y[k] * u_rows[at];
        v += conversion.filter_y[k] * v_rows[at];
    }
    u_out[(size_t)y * chroma_stride + x] = code(u + conversion.offset[1], conversion.peak);
    v_out[(size_t)y * chroma_stride + x] = code(v + conversion.offset[2], conversion.peak);
}
