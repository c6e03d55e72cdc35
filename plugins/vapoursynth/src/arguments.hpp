// Reading the arguments of the plugin's own functions.
#pragma once

#include "failure.hpp"
#include "handles.hpp"

#include <VSHelper4.h>
#include <VapourSynth4.h>

#include <climits>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace vssr {

// The integer argument `key`, which must lie in [low, high].
inline int integer(const VSMap *in, const char *key, int low, int high, const VSAPI *vsapi) {
    const std::int64_t value = vsapi->mapGetInt(in, key, 0, nullptr);
    if (value < low || value > high)
        throw Failure(std::string(key) + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                      "; got " + std::to_string(value));
    return static_cast<int>(value);
}

inline int integer(const VSMap *in, const char *key, int low, int high, int absent, const VSAPI *vsapi) {
    return vsapi->mapNumElements(in, key) > 0 ? integer(in, key, low, high, vsapi) : absent;
}

// `clip`'s information, with the arguments width, height and format in it.
inline VSVideoInfo readPicture(const VSMap *in, const VSVideoInfo &clip, VSCore *core, const VSAPI *vsapi) {
    constexpr int longest = 1 << 16;
    VSVideoInfo output = clip;
    const std::int64_t id = vsapi->mapGetInt(in, "format", 0, nullptr);
    if (id < 0 || id > INT_MAX || !vsapi->getVideoFormatByID(&output.format, static_cast<std::uint32_t>(id), core) ||
        output.format.colorFamily == cfUndefined)
        throw Failure("format must be a video format's number; got " + std::to_string(id));
    output.width = integer(in, "width", 1, longest, vsapi);
    output.height = integer(in, "height", 1, longest, vsapi);
    if (!vsh::areValidDimensions(&output.format, output.width, output.height))
        throw Failure("the output size " + std::to_string(output.width) + "x" + std::to_string(output.height) +
                      " does not suit the subsampling of its format");
    return output;
}

inline std::string data(const VSMap *map, const char *key, int index, const VSAPI *vsapi) {
    return std::string(vsapi->mapGetData(map, key, index, nullptr),
                       static_cast<std::size_t>(vsapi->mapGetDataSize(map, key, index, nullptr)));
}

// A node with the given inputs, of which it requests frames in the given patterns: VapourSynth caches what is asked for
// twice.
inline NodeHandle newNode(const std::string &name, const VSVideoInfo &info, VSFilterGetFrame getFrame,
                          VSFilterFree free, int mode, std::initializer_list<VSFilterDependency> sources, void *instance,
                          VSCore *core, const VSAPI *vsapi) {
    NodeHandle node = own(vsapi->createVideoFilter2(name.c_str(), &info, getFrame, free, mode, sources.begin(),
                                                    static_cast<int>(sources.size()), instance, core),
                          vsapi);
    if (!node)
        throw Failure("VapourSynth could not create the node '" + name + "'");
    // No record of frames that have left the cache: such notes lie in the heap between frames that come and go, and
    // glibc before 2.38 cannot put another frame of the same size into the hole beside one. See `lean` in _bridge.py.
    vsapi->setCacheOptions(node.get(), -1, -1, 0);
    return node;
}

// With one input.
inline NodeHandle newNode(const std::string &name, const VSVideoInfo &info, VSFilterGetFrame getFrame,
                          VSFilterFree free, int mode, VSNode *source, VSRequestPattern pattern, void *instance,
                          VSCore *core, const VSAPI *vsapi) {
    return newNode(name, info, getFrame, free, mode, {{source, pattern}}, instance, core, vsapi);
}

}  // namespace vssr
