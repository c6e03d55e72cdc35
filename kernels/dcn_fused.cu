// Modulated deformable convolution, 3x3, stride 1, padding 1, C -> C channels in groups of 8, C = 32 or 64, in one pass:
// bilinear sampling, sigmoid of the mask, the product with the weights on the tensor cores, bias, leaky ReLU.
//
//   out[b,p,o] = act(bias[o] + sum over taps t, channels c of  w[o,c,t] * sigmoid(m[b,p,g(c),t]) * x[b, p + t + d(b,p,g(c),t), c])
//
// Nothing is staged: the fragment of A = samples (pixels x channels) that a lane has to hold for mma_16x8x16 is
// what this lane samples. Of its two pixels, lane 4*r + q samples the 8 channels of group q, then of group q + 4 where
// there are 8: one 16-byte load per corner. The order of the product's inner index is free as long as the weights, packed
// once at load, have the same; so there is no column buffer, and no barrier after the weights have arrived.
//
//   x     (B, H, W, C) halves
//   om    (B, H, W, OM) halves, with C = 64: for tap t, lane q: [t][q] = (dy, dx of group q, dy, dx of group q + 4) at
//         16 t + 4 q, then the logits of the mask: [t][q] = (m of group q, m of group q + 4) at 144 + 8 t + 2 q.
//         With C = 32 there is no group q + 4, and all is half as far apart; OM is a multiple of 8, its rest is not read
//   w     (S, 9, C/32, C/8, 32, 8) halves: [set][tap][half s][n-tile][lane][e] = w[o][8 (q + 4 s) + e][tap], with
//         o = 32 (n / 4) + 8 (r / 2) + 2 (n % 4) + r % 2 for n-tile n, so that a lane ends up with 8 channels in a row
//   bias  (S, C) floats
//   out   (B, H, W, out_channels) halves; channels channel ... channel + C - 1 are written, both multiples of 8; image b
//         uses weight set b / images_per_set
//
// Positions are float, whatever the features are: a half cannot tell pixel 1000.5 from 1001.
// Grid: (tiles of 16 x WARPS*ROWS pixels, image). Block: 32 WARPS threads. Shared memory: one weight set.
#include "device.cuh"

#ifndef CHANNELS
#define CHANNELS 64
#endif
#ifndef WARPS
#define WARPS 8
#endif
#ifndef ROWS  // rows of 16 pixels per warp: each fragment of weights read from shared memory serves that many
#define ROWS 2
#endif
#ifndef MIN_BLOCKS  // per multiprocessor: bounds the registers
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200  // 100 KB of shared memory: one set of weights
#define MIN_BLOCKS 1
#else
#define MIN_BLOCKS 2
#endif
#endif

constexpr int TAPS = 9, GROUPS = CHANNELS / 8, HALVES = CHANNELS / 32;  // a half: the groups that the lanes have at a time
constexpr int OFFSETS = 2 * GROUPS * TAPS, OM = (3 * GROUPS * TAPS + 7) / 8 * 8;
constexpr int TILES = CHANNELS / 8;  // of 8 output channels
constexpr int PIXEL = CHANNELS * 2;  // bytes
constexpr int SAMPLES = 2 * ROWS;    // pixels per lane
constexpr int WEIGHTS = TAPS * CHANNELS * CHANNELS * 2;  // bytes

// w00 a + w01 b + w10 c + w11 d on eight channels, the modulation already in the weights.
__device__ __forceinline__ void blend(uint4 a, uint4 b, uint4 c, uint4 d, float fy, float fx, float m,
                                      unsigned (&out)[4]) {
    const float lower = fy * m, upper = m - lower;
    const __half2 w01 = __float2half2_rn(upper * fx), w00 = __float2half2_rn(upper - upper * fx);
    const __half2 w11 = __float2half2_rn(lower * fx), w10 = __float2half2_rn(lower - lower * fx);
    const unsigned v[4][4] = {{a.x, b.x, c.x, d.x}, {a.y, b.y, c.y, d.y}, {a.z, b.z, c.z, d.z}, {a.w, b.w, c.w, d.w}};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __half2 sum = __hmul2(w00, as_half2(v[i][0]));
        sum = __hfma2(w01, as_half2(v[i][1]), sum);
        sum = __hfma2(w10, as_half2(v[i][2]), sum);
        out[i] = as_bits(__hfma2(w11, as_half2(v[i][3]), sum));
    }
}

// What a lane reads for a pixel and tap: the displacements of its groups, and the logits of their masks.
#if CHANNELS == 64
struct Displaced {
    uint2 offsets;
    unsigned logits;

    __device__ __forceinline__ Displaced() {}
    __device__ __forceinline__ Displaced(const unsigned char *offset, const unsigned char *logit)
        : offsets(__ldg(reinterpret_cast<const uint2 *>(offset))), logits(__ldg(reinterpret_cast<const unsigned *>(logit))) {}
    __device__ __forceinline__ float2 offset(int s) const { return __half22float2(as_half2(s == 0 ? offsets.x : offsets.y)); }
    __device__ __forceinline__ float mask(int s) const {
        const float2 pair = __half22float2(as_half2(logits));
        return sigmoid(s == 0 ? pair.x : pair.y);
    }
};
#else
struct Displaced {
    unsigned offsets;
    unsigned short logits;

    __device__ __forceinline__ Displaced() {}
    __device__ __forceinline__ Displaced(const unsigned char *offset, const unsigned char *logit)
        : offsets(__ldg(reinterpret_cast<const unsigned *>(offset))),
          logits(__ldg(reinterpret_cast<const unsigned short *>(logit))) {}
    __device__ __forceinline__ float2 offset(int) const { return __half22float2(as_half2(offsets)); }
    __device__ __forceinline__ float mask(int) const { return sigmoid(__half22float2(as_half2(logits)).x); }
};
#endif

// A sample whose four corners are known to lie inside the image.
__device__ __forceinline__ void sample_inside(const unsigned char *x, int width, float y, float xx, float m,
                                              unsigned (&out)[4]) {
    const int iy = __float2int_rd(y), ix = __float2int_rd(xx);
    const unsigned char *p = x + (unsigned)(iy * width + ix) * PIXEL;
    const unsigned char *q = p + (unsigned)width * PIXEL;
    blend(load16(p), load16(p + PIXEL), load16(q), load16(q + PIXEL), y - (float)iy, xx - (float)ix, m, out);
}

// Any sample; corners outside the image are zero, and are not read.
__device__ __forceinline__ void sample_anywhere(const unsigned char *x, int height, int width, float y, float xx,
                                                float m, unsigned (&out)[4]) {
    // Beyond these bounds all corners are outside. fmaxf drops a NaN, which lands outside as well.
    y = fminf(fmaxf(y, -2.0f), (float)(height + 1));
    xx = fminf(fmaxf(xx, -2.0f), (float)(width + 1));
    const int iy = __float2int_rd(y), ix = __float2int_rd(xx);
    uint4 corner[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int cy = iy + i / 2, cx = ix + i % 2;
        corner[i] = make_uint4(0, 0, 0, 0);
        if ((unsigned)cy < (unsigned)height && (unsigned)cx < (unsigned)width)
            corner[i] = load16(x + (unsigned)(cy * width + cx) * PIXEL);
    }
    blend(corner[0], corner[1], corner[2], corner[3], y - (float)iy, xx - (float)ix, m, out);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, MIN_BLOCKS)
dcn_fused(const __half *__restrict__ x_all, const __half *__restrict__ om_all, const __half *__restrict__ w_all,
          const float *__restrict__ bias_all, __half *__restrict__ out_all, int height, int width, int tiles_x,
          int images_per_set, int out_channels, int channel, float slope) {
    VS_SHARED_MEMORY(shared);
    const int image = blockIdx.y, set = image / images_per_set;
    const size_t pixels = (size_t)height * width;
    const unsigned char *weights = reinterpret_cast<const unsigned char *>(w_all) + (size_t)set * WEIGHTS;
    for (int i = threadIdx.x * 16; i < WEIGHTS; i += 32 * WARPS * 16) async_copy16(shared + i, weights + i);

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, q = lane % 4;
    const int left = (int)(blockIdx.x % tiles_x) * 16, top = ((int)(blockIdx.x / tiles_x) * WARPS + warp) * ROWS;
    const unsigned char *x = reinterpret_cast<const unsigned char *>(x_all + image * pixels * CHANNELS) + q * 16;
    const unsigned char *om = reinterpret_cast<const unsigned char *>(om_all + image * pixels * OM);

    // Lanes beyond the image do the work of its last row or column, and store nothing.
    unsigned om_pixel[SAMPLES];
    float base_y[ROWS], base_x[2];
#pragma unroll
    for (int i = 0; i < SAMPLES; i++) {
        const int py = min(top + i / 2, height - 1), px = min(left + r + 8 * (i % 2), width - 1);
        om_pixel[i] = (unsigned)(py * width + px) * (OM * 2);
        base_y[i / 2] = (float)(py - 1);
        base_x[i % 2] = (float)(px - 1);
    }
    const float last_y = (float)(height - 1), last_x = (float)(width - 1);

    float acc[ROWS][TILES][4] = {};
    async_wait();
    __syncthreads();  // the weights are here

#pragma unroll 1
    for (int tap = 0; tap < TAPS; tap++) {
        const float tap_y = (float)(tap / 3), tap_x = (float)(tap % 3);
        Displaced displaced[SAMPLES];
#pragma unroll
        for (int i = 0; i < SAMPLES; i++) {
            const unsigned char *offsets = om + om_pixel[i] + tap * 4 * GROUPS + q * 4 * HALVES;
            const unsigned char *logits = om + om_pixel[i] + OFFSETS * 2 + tap * 2 * GROUPS + q * 2 * HALVES;
            displaced[i] = Displaced(offsets, logits);
        }
#pragma unroll
        for (int s = 0; s < HALVES; s++) {
            float y[SAMPLES], xx[SAMPLES];
            bool inside = true;
#pragma unroll
            for (int i = 0; i < SAMPLES; i++) {
                const float2 d = displaced[i].offset(s);
                y[i] = base_y[i / 2] + tap_y + d.x;
                xx[i] = base_x[i % 2] + tap_x + d.y;
                inside = inside && y[i] >= 0.0f && y[i] < last_y && xx[i] >= 0.0f && xx[i] < last_x;
            }
            const unsigned char *group = x + s * 64;  // 4 groups of 8 halves further
            unsigned a[SAMPLES][4];
            if (__all_sync(0xffffffffu, inside)) {
#pragma unroll
                for (int i = 0; i < SAMPLES; i++) sample_inside(group, width, y[i], xx[i], displaced[i].mask(s), a[i]);
            } else {
#pragma unroll
                for (int i = 0; i < SAMPLES; i++)
                    sample_anywhere(group, height, width, y[i], xx[i], displaced[i].mask(s), a[i]);
            }
            const unsigned char *b_tap = shared + (tap * HALVES + s) * TILES * 32 * 16 + lane * 16;
#pragma unroll
            for (int n = 0; n < TILES; n++) {
                const uint4 b = *reinterpret_cast<const uint4 *>(b_tap + n * 32 * 16);
#pragma unroll
                for (int row = 0; row < ROWS; row++) {
                    const unsigned(&a0)[4] = a[2 * row], (&a1)[4] = a[2 * row + 1];
                    mma_16x8x16(acc[row][n], a0[0], a1[0], a0[1], a1[1], b.x, b.y);
                    mma_16x8x16(acc[row][n], a0[2], a1[2], a0[3], a1[3], b.z, b.w);
                }
            }
        }
    }

    const float *bias = bias_all + set * CHANNELS;
    __half *out = out_all + image * pixels * out_channels + channel;
#pragma unroll
    for (int half = 0; half < HALVES; half++) {
        const int c = half * 32 + q * 8;
        float b[8];
        load8(bias + c, b);
#pragma unroll
        for (int i = 0; i < SAMPLES; i++) {
            const int py = top + i / 2, px = left + r + 8 * (i % 2);
            float v[8];
#pragma unroll
            for (int e = 0; e < 8; e++)
                v[e] = leaky_relu(acc[i / 2][half * 4 + e / 2][2 * (i % 2) + e % 2] + b[e], slope);
            if (py < height && px < width) store16(out + (size_t)(py * width + px) * out_channels + c, pack8(v));
        }
    }
}
