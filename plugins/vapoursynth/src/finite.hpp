// XFinite: the clip without NaN and infinity.
//
// One value that is no number makes everything of its frame one that a network sees in the same window, and of the rest
// of the film where a state is carried. It has to go before anything spreads it: resampling of chroma does, too.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// clip     input, of constant format and size, in half or single precision
// prop     integer property that the frames get in which values were replaced by 0, and no others; it is 1
inline constexpr char finiteSignature[] = "clip:vnode;prop:data;";
void VS_CC createFinite(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
