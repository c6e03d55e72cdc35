#include "finite.hpp"

#include "arguments.hpp"
#include "failure.hpp"
#include "handles.hpp"

#include <VSHelper4.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace vssr {
namespace {

template <typename Bits>
void mend(Bits *row, int width) {
    for (int x = 0; x < width; ++x)
        if ((row[x] & exponent<Bits>) == exponent<Bits>)
            row[x] = 0;
}

template <typename Bits>
bool finite(const VSFrame *frame, const VSVideoFormat &format, const VSAPI *vsapi) {
    for (int plane = 0; plane < format.numPlanes; ++plane) {
        const std::uint8_t *row = vsapi->getReadPtr(frame, plane);
        const std::ptrdiff_t stride = vsapi->getStride(frame, plane);
        const int width = vsapi->getFrameWidth(frame, plane);
        for (int y = vsapi->getFrameHeight(frame, plane); y > 0; --y, row += stride)
            if (!allFinite<Bits>(row, width))
                return false;
    }
    return true;
}

template <typename Bits>
void mend(VSFrame *frame, const VSVideoFormat &format, const VSAPI *vsapi) {
    for (int plane = 0; plane < format.numPlanes; ++plane) {
        std::uint8_t *row = vsapi->getWritePtr(frame, plane);
        const std::ptrdiff_t stride = vsapi->getStride(frame, plane);
        const int width = vsapi->getFrameWidth(frame, plane);
        for (int y = vsapi->getFrameHeight(frame, plane); y > 0; --y, row += stride)
            mend(reinterpret_cast<Bits *>(row), width);
    }
}

struct Finite {
    std::string prop;
    VSVideoFormat format;
    NodeHandle clip;
};

template <typename Bits>
const VSFrame *mended(FrameHandle frame, const Finite &data, VSCore *core, const VSAPI *vsapi) {
    if (finite<Bits>(frame.get(), data.format, vsapi))
        return frame.release();
    NewFrameHandle copy = own(vsapi->copyFrame(frame.get(), core), vsapi);
    mend<Bits>(copy.get(), data.format, vsapi);
    vsapi->mapSetInt(vsapi->getFramePropertiesRW(copy.get()), data.prop.c_str(), 1, maReplace);
    return copy.release();
}

const VSFrame *VS_CC finiteFrame(int n, int reason, void *instance, void **, VSFrameContext *context, VSCore *core,
                                 const VSAPI *vsapi) noexcept {
    try {
        const Finite &data = *static_cast<const Finite *>(instance);
        if (reason == arInitial) {
            vsapi->requestFrameFilter(n, data.clip.get(), context);
        } else if (reason == arAllFramesReady) {
            FrameHandle frame = own(vsapi->getFrameFilter(n, data.clip.get(), context), vsapi);
            return data.format.bytesPerSample == 2
                       ? mended<std::uint16_t>(std::move(frame), data, core, vsapi)
                       : mended<std::uint32_t>(std::move(frame), data, core, vsapi);
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC finiteFree(void *instance, VSCore *, const VSAPI *) noexcept { delete static_cast<Finite *>(instance); }

}  // namespace

void VS_CC createFinite(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XFinite", out, vsapi, [&] {
        auto instance = std::make_unique<Finite>();
        instance->prop = data(in, "prop", 0, vsapi);
        instance->clip = own(vsapi->mapGetNode(in, "clip", 0, nullptr), vsapi);
        const VSVideoInfo &info = *vsapi->getVideoInfo(instance->clip.get());
        if (!vsh::isConstantVideoFormat(&info) || info.format.sampleType != stFloat)
            throw Failure("clip must have a constant format of floating point");
        instance->format = info.format;
        NodeHandle node = newNode("XFinite", info, finiteFrame, finiteFree, fmParallel, instance->clip.get(),
                                  rpStrictSpatial, instance.get(), core, vsapi);
        instance.release();
        vsapi->mapConsumeNode(out, "clip", node.release(), maReplace);
    });
}

}  // namespace vssr
