// How a filter of core.vs_sr comes into being: `create` asks Python for it, and Python answers through `XCall`.
//
// VapourSynth's own VSFunction carries the arguments over and the clip back, so nodes and frames are always ordinary
// vapoursynth objects on the Python side, and the plugin converts nothing.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// VSPublicFunction of every filter; `name` is the filter's name, a `const char *` that outlives the core.
void VS_CC create(const VSMap *in, VSMap *out, void *name, VSCore *core, const VSAPI *vsapi) noexcept;

// XCall(func): runs func with the arguments of the filter that this thread is creating.
inline constexpr char callSignature[] = "func:func;";
void VS_CC answer(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
