// The elementwise half of a convolutional LSTM cell: from the convolution's output to the new states.
//
//   c' = sigmoid(f) * c + sigmoid(i) * tanh(g),   h = sigmoid(o) * tanh(c')
//
//   gates   (B, height, width, 4 * channels) halves: i, f, o, g, a run of `channels` each, a multiple of 8
//   bias    (4 * channels) floats, or null
//   cell    (B, height, width, channels): c, and next_cell for c'; halves or floats
//   hidden  (B, height, width, channels) halves: h
// The sigmoids are good to a few units of a float, tanh to 2^-11 of its value, as much as a half can hold.
// Grid: vectors / 256. Block: 256 threads, each 8 channels of a pixel.
#include "device.cuh"

#ifndef FLOAT_CELL  // type of the cell state: 0 half, 1 float
#define FLOAT_CELL 0
#endif

#if FLOAT_CELL
typedef float Cell;
#else
typedef __half Cell;
#endif

extern "C" __global__ void __launch_bounds__(256)
lstm_gates(const __half *__restrict__ gates, const float *__restrict__ bias, const Cell *__restrict__ cell,
           __half *__restrict__ hidden, Cell *__restrict__ next_cell, int vectors, int channels) {
    const int index = blockIdx.x * 256 + threadIdx.x;
    if (index >= vectors) return;
    const int per_pixel = channels / 8, channel = index % per_pixel * 8;
    const __half *pixel = gates + (size_t)(index / per_pixel) * 4 * channels + channel;
    float gate[4][8];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        unpack8(load16(pixel + k * channels), gate[k]);
        if (bias) {
            float b[8];
            load8(bias + k * channels + channel, b);
#pragma unroll
            for (int e = 0; e < 8; e++) gate[k][e] += b[e];
        }
    }
    float c[8], h[8];
#if FLOAT_CELL
    load8(cell + (size_t)index * 8, c);
#else
    unpack8(load16(cell + (size_t)index * 8), c);
#endif
#pragma unroll
    for (int e = 0; e < 8; e++) {
        c[e] = sigmoid(gate[1][e]) * c[e] + sigmoid(gate[0][e]) * fast_tanh(gate[3][e]);
        h[e] = sigmoid(gate[2][e]) * fast_tanh(c[e]);
    }
#if FLOAT_CELL
#pragma unroll
    for (int k = 0; k < 8; k += 4)
        store16(next_cell + (size_t)index * 8 + k,
                make_uint4(__float_as_uint(c[k]), __float_as_uint(c[k + 1]), __float_as_uint(c[k + 2]),
                           __float_as_uint(c[k + 3])));
#else
    store16(next_cell + (size_t)index * 8, pack8(c));
#endif
    store16(hidden + (size_t)index * 8, pack8(h));
}
