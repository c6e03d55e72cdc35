// Frames that repeat the one before them: found, told which drawing they belong to, and taken over.
//
// Films of 12 drawings a second show each of them twice. XRepeats says of every frame whether it repeats the one before.
// XDrawings makes drawings of that; XTakeOver shows what was made of a drawing's first frame.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// Set to 1 on the frames of XRepeats that repeat the frame before.
inline constexpr char repeatKey[] = "_vs_sr_repeat";
// How many frames of the same drawing come before a frame and after it; set where there are any.
inline constexpr char drawingKey[] = "_vs_sr_drawing";
// Frames of one drawing, at most: `LONGEST` in vs_sr/windows.py. What stands longer is a still image, of no rate.
inline constexpr int longestDrawing = 4;
// Where a still image is divided, so that no frame looks further back: at numbers that are multiples of this.
inline constexpr int stillPeriod = 8;

// clip       input, of constant format and size
// threshold  by how much a block of 16x16 values of any plane may differ in the mean, in code values of 8 bits, where 1.0 is
//            255 in floating point; 0: all planes are identical
// keys       properties that must be the same as well: integers by value, others by whether they are there
// Frames of 1x1, GRAY8, with nothing but repeatKey. No frame repeats one beyond a cut that either of both is marked with.
inline constexpr char repeatsSignature[] = "clip:vnode;threshold:float;keys:data[];";
void VS_CC createRepeats(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

// clip     input; its frames get drawingKey
// repeats  of XRepeats, for the frames of clip
inline constexpr char drawingsSignature[] = "clip:vnode;repeats:vnode;";
void VS_CC createDrawings(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

// clip     what was made of `source`, frame by frame
// repeats  of XRepeats, for the frames of source
// source   its frames give the properties
// keys     but for these, which come with the planes
// The planes are those of the first frame that a frame repeats; a still image begins again every stillPeriod frames.
inline constexpr char takeOverSignature[] = "clip:vnode;repeats:vnode;source:vnode;keys:data[];";
void VS_CC createTakeOver(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
