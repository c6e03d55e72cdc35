// XPlanes: a YUV frame of integers from an image in floating point, in one pass over its memory.
//
// What core.resize does in three (a frame of floats, a matrix over all of it, a filter over chroma), row by row in the
// processor's cache: at 1080p the way back of a frame takes less than half of the time. The arithmetic is that of
// `down_reference` in vs_sr/ops/color.py, which is zimg's to one code value.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// pointer        of the image's first value: float32, R, G and B in 0..1, finite, alive until the call returns
// strides        in values: from channel to channel, row to row, and pixel to pixel
// width, height, format    of the frame: YUV of 8 to 16 bits, chroma as large as luma or half of it, along x and y
// conversion     the bytes of `struct Conversion` of planes.cpp
inline constexpr char planesSignature[] = "pointer:int;strides:int[];width:int;height:int;format:int;conversion:data;";
inline constexpr char planesResult[] = "frame:vframe;";
void VS_CC createPlanes(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
