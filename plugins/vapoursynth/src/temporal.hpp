// XTemporal: many input frames in, many output frames out, a group at a time, made by a callback.
//
// Two nodes. The hidden Group node has one frame per group: a 1x1 carrier whose properties hold the group's output
// frames. The Select node, which the script sees, takes output n out of its carrier. The core merges requests for one
// frame of one node, so a group is made once although many of its outputs are asked for at the same time, and in
// whichever order. Where a group is one frame, there is no carrier and no second node.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// clip     input, of constant format and size
// func     func(g, want, n, f): group g is to make `want` frames; it has the input frames f, of the indices n.
//          It answers {"val": frames}, or {"_error": text}, or {"need": indices} to be called again with those frames
//          after the others. Beside it, {"drop": indices} gives frames back that it has done with, and {"then": function}
//          is what is called in its place: the plugin keeps it for this request alone, and exactly as long.
// width, height, format    of the output
// step, multi, groups, before, after    see grid.hpp
// per      where given, `per` inputs give `multi` outputs, at a constant rate: that of the clip times multi / per
// cache    how many groups are kept, 3 by default
// parallel 1: many calls of func at the same time; 0, by default: one at a time
// name     what errors begin with and the nodes are called; "XTemporal" by default
inline constexpr char temporalSignature[] =
    "clip:vnode;func:func;width:int;height:int;format:int;step:int;multi:int;groups:int;before:int;after:int;"
    "per:int:opt;cache:int:opt;parallel:int:opt;name:data:opt;";
void VS_CC createTemporal(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
