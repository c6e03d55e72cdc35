// The node of XTemporal that makes groups: frame g is a carrier that holds all output frames of group g, or the one
// output frame where there is only one in each.
#pragma once

#include "grid.hpp"
#include "handles.hpp"

#include <VapourSynth4.h>

#include <string>

namespace vssr {

// Instance data; also what both nodes must know.
struct Group {
    std::string name;         // of the filter, for errors
    Grid grid;
    VSVideoInfo output;       // format, width and height that the callback's frames must have
    NodeHandle clip;
    FunctionHandle callback;
};

// The carrier's property with the output frames.
inline constexpr char carrierKey[] = "f";

// How many input frames a group may hold at once; one that asks for more has lost its bounds.
inline constexpr int maxHeld = 4096;

// VSFilterGetFrame and VSFilterFree of the node; to be run as fmParallelRequests, where requests overlap and callbacks do
// not, or as fmParallel, where both do: what a request has achieved is its own.
const VSFrame *VS_CC groupFrame(int g, int reason, void *group, void **pending, VSFrameContext *context, VSCore *core,
                                const VSAPI *vsapi) noexcept;
void VS_CC groupFree(void *group, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
