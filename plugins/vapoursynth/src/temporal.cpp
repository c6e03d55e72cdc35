#include "temporal.hpp"

#include "arguments.hpp"
#include "failure.hpp"
#include "group.hpp"
#include "rational.hpp"

#include <VSHelper4.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace vssr {
namespace {

// The node that the script sees.
struct Select {
    Grid grid;
    NodeHandle groups;
};

const VSFrame *VS_CC selectFrame(int n, int reason, void *data, void **, VSFrameContext *context, VSCore *,
                                 const VSAPI *vsapi) noexcept {
    const Select &select = *static_cast<const Select *>(data);
    const int g = select.grid.groupOf(n);
    if (reason == arInitial) {
        vsapi->requestFrameFilter(g, select.groups.get(), context);
    } else if (reason == arAllFramesReady) {
        const FrameHandle carrier = own(vsapi->getFrameFilter(g, select.groups.get(), context), vsapi);
        return vsapi->mapGetFrame(vsapi->getFramePropertiesRO(carrier.get()), carrierKey, select.grid.positionOf(n),
                                  nullptr);
    }
    return nullptr;
}

void VS_CC selectFree(void *select, VSCore *, const VSAPI *) noexcept { delete static_cast<Select *>(select); }

Grid readGrid(const VSMap *in, int inputs, const VSAPI *vsapi) {
    const int step = integer(in, "step", 1, maxHeld, vsapi);
    // Numbers so small that all products of the grid fit into 64 bits.
    constexpr int finest = 1 << 27;
    const bool constant = vsapi->mapNumElements(in, "per") > 0;
    const int multi = integer(in, "multi", 1, constant ? finest : maxHeld, vsapi);
    const Rate rate{multi, integer(in, "per", 1, multi, 1, vsapi), constant};
    if (multi > std::int64_t{maxHeld} * rate.per)
        throw Failure("multi must be at most " + std::to_string(maxHeld) + " times per; got " + std::to_string(multi) +
                      " for " + std::to_string(rate.per));
    const int groups = integer(in, "groups", 1, INT_MAX, vsapi);
    const int before = integer(in, "before", 0, maxHeld, vsapi);
    const int after = integer(in, "after", 0, maxHeld, vsapi);
    // The first of the last group is an input, and the group owns no more than a window can hold.
    const std::int64_t last = (std::int64_t{groups} - 1) * step;
    if (last >= inputs)
        throw Failure("groups must be at most " + std::to_string((inputs - 1) / step + 1) + " of " +
                      std::to_string(step) + " input frames; got " + std::to_string(groups));
    const std::int64_t held = before + std::max<std::int64_t>(step, inputs - last) + after;
    if (held > maxHeld)
        throw Failure("a window of " + std::to_string(held) + " input frames; " + std::to_string(maxHeld) +
                      " is the limit");
    return Grid(inputs, step, rate, groups, before, after);
}

VSVideoInfo readOutput(const VSMap *in, const VSVideoInfo &clip, const Grid &grid, VSCore *core, const VSAPI *vsapi) {
    VSVideoInfo output = readPicture(in, clip, core, vsapi);
    output.numFrames = grid.outputs();
    // 0 stands for a variable rate and stays.
    if (clip.fpsNum > 0 && clip.fpsDen > 0) {
        const auto rate = scaled({clip.fpsNum, clip.fpsDen}, grid.rate().multi, grid.rate().per);
        if (!rate)
            throw Failure("the frame rate " + std::to_string(clip.fpsNum) + "/" + std::to_string(clip.fpsDen) +
                          " times " + std::to_string(grid.rate().multi) + " does not fit into 64 bits; " +
                          "use std.AssumeFPS first");
        output.fpsNum = rate->num;
        output.fpsDen = rate->den;
    } else if (grid.rate().constant) {
        throw Failure("a clip of variable frame rate has no constant multiple; use std.AssumeFPS first");
    }
    return output;
}

}  // namespace

void VS_CC createTemporal(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    int absent = 0;
    const char *given = vsapi->mapGetData(in, "name", 0, &absent);
    const char *label = absent ? "XTemporal" : given;
    guardCall(label, out, vsapi, [&] {
        const std::string name = label;
        NodeHandle clip = own(vsapi->mapGetNode(in, "clip", 0, nullptr), vsapi);
        const VSVideoInfo info = *vsapi->getVideoInfo(clip.get());
        if (!vsh::isConstantVideoFormat(&info))
            throw Failure("clip must have constant format and size; use resize.Bicubic(width=..., height=..., "
                          "format=...) first");
        const Grid grid = readGrid(in, info.numFrames, vsapi);
        const VSVideoInfo output = readOutput(in, info, grid, core, vsapi);
        const int cached = integer(in, "cache", 1, 64, 3, vsapi);
        const int mode = integer(in, "parallel", 0, 1, 0, vsapi) ? fmParallel : fmParallelRequests;

        VSVideoInfo carriers = output;
        if (!grid.single()) {
            vsapi->queryVideoFormat(&carriers.format, cfGray, stInteger, 8, 0, 0, core);
            carriers.width = carriers.height = 1;
            carriers.numFrames = grid.groups();
        }
        VSNode *source = clip.get();
        FunctionHandle callback = own(vsapi->mapGetFunction(in, "func", 0, nullptr), vsapi);
        auto group = std::make_unique<Group>(Group{name, grid, output, std::move(clip), std::move(callback)});
        NodeHandle groups =
            newNode(grid.single() ? name : name + "/groups", carriers, groupFrame, groupFree, mode, source,
                    grid.overlaps() ? rpGeneral : rpNoFrameReuse, group.get(), core, vsapi);
        group.release();
        vsapi->setCacheMode(groups.get(), cmForceEnable);
        vsapi->setCacheOptions(groups.get(), 1, cached, 0);
        if (grid.single()) {
            vsapi->mapConsumeNode(out, "clip", groups.release(), maReplace);
            return;
        }

        VSNode *carrying = groups.get();
        auto select = std::make_unique<Select>(Select{grid, std::move(groups)});
        NodeHandle node =
            newNode(name, output, selectFrame, selectFree, fmParallel, carrying, rpGeneral, select.get(), core, vsapi);
        select.release();
        vsapi->mapConsumeNode(out, "clip", node.release(), maReplace);
    });
}

}  // namespace vssr
