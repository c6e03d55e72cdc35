// The elementwise half of a convolutional LSTM cell: from the convolution's output to the new states.
//
//   c' = sigmoid(f) * c + sigmoid(i) * tanh(g),   h = sigmoid(o) * tanh(c')
//
//   gates   (B, height, width, 4 * channels) halves: i, f, o, g, a run of `channels` each, a multiple of 8
//   bias    (4 * channels) floats, or null
//   cell    (B, height, width, channels) halves: c, and next_cell for c'
//   hidden  the same: h
// All is computed in float. c' is rounded for the next step's alignment, whose convolutions take halves.
// The sigmoids are good to a few units of a float, tanh to 2^-11 of its value, as much as a half can hold.
// Grid: vectors / 256. Block: 256 threads, each 8 channels of a pixel.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(256)
lstm_gates(const __half *__restrict__ gates, const float *__restrict__ bias, const __half *__restrict__ cell,
           __half *__restrict__ hidden, __half *__restrict__ next_cell, int vectors, int channels) {
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
    unpack8(load16(cell + (size_t)index * 8), c);
#pragma unroll
    for (int e = 0; e < 8; e++) {
        c[e] = sigmoid(gate[1][e]) * c[e] + sigmoid(gate[0][e]) * fast_tanh(gate[3][e]);
        h[e] = sigmoid(gate[2][e]) * fast_tanh(c[e]);
    }
    store16(next_cell + (size_t)index * 8, pack8(c));
    store16(hidden + (size_t)index * 8, pack8(h));
}
