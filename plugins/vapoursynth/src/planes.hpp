// XPlanes: a frame from an image in floating point, in one pass over its memory: as it is, or YUV of integers.
//
// The latter is what core.resize does in three (a frame of floats, a matrix over all of it, a filter over chroma), row by
// row in the processor's cache. The arithmetic is that of `down_reference` in vs_sr/ops/color.py, which is zimg's to one
// code value.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// pointer        of the image's first value: float32, alive until the call returns
// strides        in values: from channel to channel, row to row, and pixel to pixel
// width, height, format    of the frame: RGBS or GRAYS; or, for R, G and B in 0..1, YUV of 8 to 16 bits, chroma as large as
//                luma or half of it, along x and y
// conversion     to YUV, the bytes of `struct Conversion` of planes.cpp
// Beside the frame it gives `finite`: 1, or 0 where the image has NaN or infinity in it, or values near the end of float32.
inline constexpr char planesSignature[] =
    "pointer:int;strides:int[];width:int;height:int;format:int;conversion:data:opt;";
inline constexpr char planesResult[] = "frame:vframe;finite:int;";
void VS_CC createPlanes(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
