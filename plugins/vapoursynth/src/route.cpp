#include "route.hpp"

#include "arguments.hpp"
#include "failure.hpp"
#include "handles.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace vssr {
namespace {

// What a frame's properties say, in the order of Route::keys: nothing, a number, or format, width and height of a frame.
using Values = std::vector<std::vector<std::int64_t>>;

struct Route {
    std::string name;
    std::vector<std::string> keys;
    VSVideoInfo output;
    NodeHandle clip;
    FunctionHandle callback;
    std::mutex mutex;
    std::map<Values, NodeHandle> ways;  // nodes stay until the filter is freed: frames in flight point to them

    Values read(const VSFrame *frame, VSCore *core, const VSAPI *vsapi) const {
        const VSMap *props = vsapi->getFramePropertiesRO(frame);
        Values values;
        for (const std::string &key : keys) {
            std::vector<std::int64_t> value;
            if (vsapi->mapGetType(props, key.c_str()) == ptInt) {
                value = {vsapi->mapGetInt(props, key.c_str(), 0, nullptr)};
            } else if (vsapi->mapGetType(props, key.c_str()) == ptVideoFrame) {
                const FrameHandle attached = own(vsapi->mapGetFrame(props, key.c_str(), 0, nullptr), vsapi);
                const VSVideoFormat &f = *vsapi->getVideoFrameFormat(attached.get());
                const std::uint32_t id = vsapi->queryVideoFormatID(f.colorFamily, f.sampleType, f.bitsPerSample,
                                                                   f.subSamplingW, f.subSamplingH, core);
                value = {id, vsapi->getFrameWidth(attached.get(), 0), vsapi->getFrameHeight(attached.get(), 0)};
            }
            values.push_back(std::move(value));
        }
        return values;
    }

    // The node for the values of frame n, built by the callback when it is the first time.
    VSNode *way(int n, const Values &values, const VSAPI *vsapi) {
        const std::lock_guard<std::mutex> lock(mutex);
        NodeHandle &node = ways[values];
        if (!node)
            node = build(n, values, vsapi);
        return node.get();
    }

    NodeHandle build(int n, const Values &values, const VSAPI *vsapi) const {
        const MapHandle in = newMap(vsapi);
        const MapHandle out = newMap(vsapi);
        vsapi->mapSetInt(in.get(), "n", n, maReplace);
        for (std::size_t i = 0; i < keys.size(); ++i)
            if (!values[i].empty())
                vsapi->mapSetIntArray(in.get(), keys[i].c_str(), values[i].data(), static_cast<int>(values[i].size()));
        vsapi->callFunction(callback.get(), in.get(), out.get());
        if (const char *error = vsapi->mapGetError(out.get()))
            throw Failure(error);
        if (vsapi->mapNumElements(out.get(), "_error") > 0)
            throw Failure(vsapi->mapGetData(out.get(), "_error", 0, nullptr));
        if (vsapi->mapGetType(out.get(), "clip") != ptVideoNode)
            throw Failure(name + ": the callback answered without a clip");
        NodeHandle node = own(vsapi->mapGetNode(out.get(), "clip", 0, nullptr), vsapi);
        const VSVideoInfo &info = *vsapi->getVideoInfo(node.get());
        if (!vsh::isSameVideoFormat(&info.format, &output.format) || info.width != output.width ||
            info.height != output.height || info.numFrames < output.numFrames)
            throw Failure(name + ": the callback answered with a clip of another format, size or length");
        // What it makes is asked for once, and cached by the route's own node where others ask again.
        if (node.get() != clip.get())
            vsapi->setCacheMode(node.get(), cmForceDisable);
        return node;
    }
};

const VSFrame *VS_CC routeFrame(int n, int reason, void *data, void **chosen, VSFrameContext *context, VSCore *core,
                                const VSAPI *vsapi) noexcept {
    try {
        Route &route = *static_cast<Route *>(data);
        if (reason == arInitial) {
            vsapi->requestFrameFilter(n, route.clip.get(), context);
        } else if (reason == arAllFramesReady && !*chosen) {
            const FrameHandle frame = own(vsapi->getFrameFilter(n, route.clip.get(), context), vsapi);
            VSNode *node = route.way(n, route.read(frame.get(), core, vsapi), vsapi);
            *chosen = node;
            vsapi->requestFrameFilter(n, node, context);
        } else if (reason == arAllFramesReady) {
            return vsapi->getFrameFilter(n, static_cast<VSNode *>(*chosen), context);
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC routeFree(void *route, VSCore *, const VSAPI *) noexcept { delete static_cast<Route *>(route); }

struct Attached {
    std::string prop;
    VSVideoInfo output;
    NodeHandle clip;
};

const VSFrame *VS_CC attachedFrame(int n, int reason, void *data, void **, VSFrameContext *context, VSCore *,
                                   const VSAPI *vsapi) noexcept {
    try {
        const Attached &attached = *static_cast<Attached *>(data);
        if (reason == arInitial) {
            vsapi->requestFrameFilter(n, attached.clip.get(), context);
        } else if (reason == arAllFramesReady) {
            const FrameHandle frame = own(vsapi->getFrameFilter(n, attached.clip.get(), context), vsapi);
            const VSMap *props = vsapi->getFramePropertiesRO(frame.get());
            if (vsapi->mapGetType(props, attached.prop.c_str()) != ptVideoFrame)
                throw Failure("frame " + std::to_string(n) + " has no frame as its property " + attached.prop);
            FrameHandle found = own(vsapi->mapGetFrame(props, attached.prop.c_str(), 0, nullptr), vsapi);
            if (!vsh::isSameVideoFormat(vsapi->getVideoFrameFormat(found.get()), &attached.output.format) ||
                vsapi->getFrameWidth(found.get(), 0) != attached.output.width ||
                vsapi->getFrameHeight(found.get(), 0) != attached.output.height)
                throw Failure("frame " + std::to_string(n) + ": the property " + attached.prop +
                              " is a frame of another size or format than the clip's");
            return found.release();
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC attachedFree(void *attached, VSCore *, const VSAPI *) noexcept { delete static_cast<Attached *>(attached); }

}  // namespace

void VS_CC createRoute(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    int absent = 0;
    const char *given = vsapi->mapGetData(in, "name", 0, &absent);
    const char *label = absent ? "XRoute" : given;
    guardCall(label, out, vsapi, [&] {
        auto route = std::make_unique<Route>();
        route->name = label;
        for (int i = 0; i < vsapi->mapNumElements(in, "keys"); ++i)
            route->keys.push_back(data(in, "keys", i, vsapi));
        route->clip = own(vsapi->mapGetNode(in, "clip", 0, nullptr), vsapi);
        route->callback = own(vsapi->mapGetFunction(in, "func", 0, nullptr), vsapi);
        route->output = readPicture(in, *vsapi->getVideoInfo(route->clip.get()), core, vsapi);
        NodeHandle node = newNode(route->name + "/route", route->output, routeFrame, routeFree, fmParallel,
                                  route->clip.get(), rpStrictSpatial, route.get(), core, vsapi);
        route.release();
        vsapi->mapConsumeNode(out, "clip", node.release(), maReplace);
    });
}

void VS_CC createAttached(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XAttached", out, vsapi, [&] {
        auto attached = std::make_unique<Attached>();
        attached->prop = data(in, "prop", 0, vsapi);
        attached->clip = own(vsapi->mapGetNode(in, "clip", 0, nullptr), vsapi);
        attached->output = readPicture(in, *vsapi->getVideoInfo(attached->clip.get()), core, vsapi);
        NodeHandle node = newNode("XAttached", attached->output, attachedFrame, attachedFree, fmParallel,
                                  attached->clip.get(), rpStrictSpatial, attached.get(), core, vsapi);
        attached.release();
        vsapi->mapConsumeNode(out, "clip", node.release(), maReplace);
    });
}

}  // namespace vssr
