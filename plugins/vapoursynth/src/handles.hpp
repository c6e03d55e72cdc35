// Owning handles for VapourSynth's reference-counted objects.
#pragma once

#include <VapourSynth4.h>

#include <memory>

namespace vssr {

template <typename T>
struct Release {
    void(VS_CC *release)(T *) noexcept = nullptr;
    void operator()(T *object) const noexcept { release(object); }
};

using MapHandle = std::unique_ptr<VSMap, Release<VSMap>>;
using NodeHandle = std::unique_ptr<VSNode, Release<VSNode>>;
using FunctionHandle = std::unique_ptr<VSFunction, Release<VSFunction>>;
using FrameHandle = std::unique_ptr<const VSFrame, Release<const VSFrame>>;
using NewFrameHandle = std::unique_ptr<VSFrame, Release<const VSFrame>>;

inline MapHandle newMap(const VSAPI *vsapi) { return MapHandle(vsapi->createMap(), {vsapi->freeMap}); }
inline NodeHandle own(VSNode *node, const VSAPI *vsapi) { return NodeHandle(node, {vsapi->freeNode}); }
inline FunctionHandle own(VSFunction *function, const VSAPI *vsapi) {
    return FunctionHandle(function, {vsapi->freeFunction});
}
inline FrameHandle own(const VSFrame *frame, const VSAPI *vsapi) { return FrameHandle(frame, {vsapi->freeFrame}); }
inline NewFrameHandle own(VSFrame *frame, const VSAPI *vsapi) { return NewFrameHandle(frame, {vsapi->freeFrame}); }

}  // namespace vssr
