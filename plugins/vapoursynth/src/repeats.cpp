#include "repeats.hpp"

#include "arguments.hpp"
#include "failure.hpp"
#include "handles.hpp"

#include <VSHelper4.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace vssr {
namespace {

// Side of the blocks that planes are compared by. A small thing that moves is not averaged with all that stands still
// around it.
constexpr int blockSide = 16;

// Differences of two values, and the sum of a block of them: exact for integers, of which 256 times 16 bits fit.
struct Half {
    std::uint16_t bits;
};

template <typename Value>
std::uint32_t difference(Value a, Value b) {
    return static_cast<std::uint32_t>(std::abs(int{a} - int{b}));
}
inline float difference(float a, float b) { return std::abs(a - b); }
inline float single(Half value) {
    const int exponent = value.bits >> 10 & 31;
    const auto fraction = static_cast<float>(value.bits & 1023);
    const float size = exponent ? std::ldexp(fraction + 1024, exponent - 25) : std::ldexp(fraction, -24);
    return value.bits >> 15 ? -size : size;
}
inline float difference(Half a, Half b) { return difference(single(a), single(b)); }

struct Plane {
    const std::uint8_t *data;
    std::ptrdiff_t stride;
    int width;
    int height;
    const std::uint8_t *row(int y) const { return data + y * stride; }
};

bool identical(const Plane &a, const Plane &b, int bytes) {
    for (int y = 0; y < a.height; ++y)
        if (std::memcmp(a.row(y), b.row(y), static_cast<std::size_t>(a.width) * bytes) != 0)
            return false;
    return true;
}

// Whether no block differs by more than `limit` a value, in the mean. Blocks at the right and at the bottom are what is
// left there.
template <typename Value>
bool alike(const Plane &a, const Plane &b, double limit) {
    for (int top = 0; top < a.height; top += blockSide) {
        const int rows = std::min(blockSide, a.height - top);
        for (int left = 0; left < a.width; left += blockSide) {
            const int columns = std::min(blockSide, a.width - left);
            decltype(difference(Value{}, Value{})) sum{};
            for (int y = top; y < top + rows; ++y) {
                const auto *rowA = reinterpret_cast<const Value *>(a.row(y)) + left;
                const auto *rowB = reinterpret_cast<const Value *>(b.row(y)) + left;
                for (int x = 0; x < columns; ++x)
                    sum += difference(rowA[x], rowB[x]);
            }
            if (static_cast<double>(sum) > limit * rows * columns)
                return false;
        }
    }
    return true;
}

std::vector<std::string> strings(const VSMap *in, const char *key, const VSAPI *vsapi) {
    std::vector<std::string> found;
    for (int i = 0; i < vsapi->mapNumElements(in, key); ++i)
        found.push_back(data(in, key, i, vsapi));
    return found;
}

bool marked(const VSMap *props, const char *key, const VSAPI *vsapi) {
    int absent = 0;
    return vsapi->mapGetInt(props, key, 0, &absent) != 0 && !absent;
}

// A frame of 1x1 that is there for its properties.
NewFrameHandle note(const VSVideoFormat &gray, VSCore *core, const VSAPI *vsapi) {
    NewFrameHandle frame = own(vsapi->newVideoFrame(&gray, 1, 1, nullptr, core), vsapi);
    *vsapi->getWritePtr(frame.get(), 0) = 0;
    return frame;
}

struct Repeats {
    double threshold;  // in code values of 8 bits
    std::vector<std::string> keys;
    VSVideoFormat format;  // of the clip
    VSVideoFormat gray;
    NodeHandle clip;

    bool repeats(const VSFrame *before, const VSFrame *frame, const VSAPI *vsapi) const {
        const VSMap *props = vsapi->getFramePropertiesRO(frame), *earlier = vsapi->getFramePropertiesRO(before);
        if (marked(props, "_SceneChangePrev", vsapi) || marked(earlier, "_SceneChangeNext", vsapi))
            return false;
        for (const std::string &key : keys)
            if (!same(earlier, props, key.c_str(), vsapi))
                return false;
        for (int plane = 0; plane < format.numPlanes; ++plane)
            if (!same(of(before, plane, vsapi), of(frame, plane, vsapi)))
                return false;
        return true;
    }

private:
    static Plane of(const VSFrame *frame, int plane, const VSAPI *vsapi) {
        return {vsapi->getReadPtr(frame, plane), vsapi->getStride(frame, plane), vsapi->getFrameWidth(frame, plane),
                vsapi->getFrameHeight(frame, plane)};
    }

    static bool same(const VSMap *a, const VSMap *b, const char *key, const VSAPI *vsapi) {
        const int type = vsapi->mapGetType(a, key);
        if (type != vsapi->mapGetType(b, key))
            return false;
        return type != ptInt || vsapi->mapGetInt(a, key, 0, nullptr) == vsapi->mapGetInt(b, key, 0, nullptr);
    }

    bool same(const Plane &a, const Plane &b) const {
        if (a.data == b.data || identical(a, b, format.bytesPerSample))
            return true;
        if (threshold == 0)
            return false;
        if (format.sampleType == stFloat)
            return format.bytesPerSample == 2 ? alike<Half>(a, b, threshold / 255) : alike<float>(a, b, threshold / 255);
        const double limit = threshold * (1 << (format.bitsPerSample - 8));
        return format.bytesPerSample == 1 ? alike<std::uint8_t>(a, b, limit) : alike<std::uint16_t>(a, b, limit);
    }
};

const VSFrame *VS_CC repeatsFrame(int n, int reason, void *instance, void **, VSFrameContext *context, VSCore *core,
                                  const VSAPI *vsapi) noexcept {
    try {
        const Repeats &data = *static_cast<const Repeats *>(instance);
        VSNode *clip = data.clip.get();
        if (reason == arInitial) {
            for (int i = std::max(0, n - 1); i <= n; ++i)
                vsapi->requestFrameFilter(i, clip, context);
        } else if (reason == arAllFramesReady) {
            NewFrameHandle found = note(data.gray, core, vsapi);
            if (n > 0) {
                const FrameHandle before = own(vsapi->getFrameFilter(n - 1, clip, context), vsapi);
                const FrameHandle frame = own(vsapi->getFrameFilter(n, clip, context), vsapi);
                if (data.repeats(before.get(), frame.get(), vsapi))
                    vsapi->mapSetInt(vsapi->getFramePropertiesRW(found.get()), repeatKey, 1, maReplace);
            }
            return found.release();
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC repeatsFree(void *instance, VSCore *, const VSAPI *) noexcept { delete static_cast<Repeats *>(instance); }

// What XRepeats says of a span of frames, as far as they exist.
class Marks {
public:
    Marks(int first, int last, const NodeHandle &repeats, const VSAPI *vsapi)
        : first_(std::max(first, 0)),
          last_(std::min(last, vsapi->getVideoInfo(repeats.get())->numFrames - 1)), node_(repeats.get()), vsapi_(vsapi) {}

    void request(VSFrameContext *context) const {
        for (int i = first_; i <= last_; ++i)
            vsapi_->requestFrameFilter(i, node_, context);
    }

    bool repeats(int n, VSFrameContext *context) const {
        if (n < first_ || n > last_)
            return false;
        const FrameHandle frame = own(vsapi_->getFrameFilter(n, node_, context), vsapi_);
        return marked(vsapi_->getFramePropertiesRO(frame.get()), repeatKey, vsapi_);
    }

private:
    const int first_, last_;
    VSNode *const node_;
    const VSAPI *const vsapi_;
};

struct Drawings {
    NodeHandle clip, repeats;
};

const VSFrame *VS_CC drawingsFrame(int n, int reason, void *instance, void **, VSFrameContext *context, VSCore *core,
                                   const VSAPI *vsapi) noexcept {
    try {
        const Drawings &data = *static_cast<const Drawings *>(instance);
        const Marks marks(n - longestDrawing + 1, n + longestDrawing, data.repeats, vsapi);
        if (reason == arInitial) {
            vsapi->requestFrameFilter(n, data.clip.get(), context);
            marks.request(context);
        } else if (reason == arAllFramesReady) {
            FrameHandle frame = own(vsapi->getFrameFilter(n, data.clip.get(), context), vsapi);
            std::int64_t around[2] = {0, 0};  // before, after
            while (around[0] < longestDrawing && marks.repeats(n - static_cast<int>(around[0]), context))
                ++around[0];
            while (around[1] < longestDrawing && marks.repeats(n + 1 + static_cast<int>(around[1]), context))
                ++around[1];
            const std::int64_t length = around[0] + 1 + around[1];
            if (length == 1 || length > longestDrawing)
                return frame.release();
            NewFrameHandle copy = own(vsapi->copyFrame(frame.get(), core), vsapi);
            vsapi->mapSetIntArray(vsapi->getFramePropertiesRW(copy.get()), drawingKey, around, 2);
            return copy.release();
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC drawingsFree(void *instance, VSCore *, const VSAPI *) noexcept { delete static_cast<Drawings *>(instance); }

struct TakeOver {
    std::vector<std::string> keys;
    NodeHandle clip, repeats, source;

    // Of `keys`, `props` gets what the frame has, and no others.
    void copyKeys(const VSFrame *frame, VSMap *props, const VSAPI *vsapi) const {
        for (const std::string &key : keys)
            vsapi->mapDeleteKey(props, key.c_str());
        const VSMap *all = vsapi->getFramePropertiesRO(frame);
        const MapHandle chosen = newMap(vsapi);
        vsapi->copyMap(all, chosen.get());
        for (int i = 0; i < vsapi->mapNumKeys(all); ++i)
            if (const char *key = vsapi->mapGetKey(all, i); std::find(keys.begin(), keys.end(), key) == keys.end())
                vsapi->mapDeleteKey(chosen.get(), key);
        vsapi->copyMap(chosen.get(), props);
    }
};

const VSFrame *VS_CC takeOverFrame(int n, int reason, void *instance, void **pending, VSFrameContext *context,
                                   VSCore *core, const VSAPI *vsapi) noexcept {
    try {
        const TakeOver &data = *static_cast<const TakeOver *>(instance);
        VSNode *clip = data.clip.get();
        const int beginning = n - n % stillPeriod;
        const Marks marks(beginning + 1, n, data.repeats, vsapi);
        if (reason == arInitial && n == beginning) {
            vsapi->requestFrameFilter(n, clip, context);
            *pending = instance;  // what it takes is on its way
        } else if (reason == arInitial) {
            marks.request(context);
        } else if (reason == arAllFramesReady) {
            int first = n;
            while (marks.repeats(first, context))
                --first;
            if (!*pending) {
                *pending = instance;
                vsapi->requestFrameFilter(first, clip, context);
                if (first < n)
                    vsapi->requestFrameFilter(n, data.source.get(), context);
                return nullptr;
            }
            FrameHandle made = own(vsapi->getFrameFilter(first, clip, context), vsapi);
            if (first == n)
                return made.release();
            const FrameHandle source = own(vsapi->getFrameFilter(n, data.source.get(), context), vsapi);
            const VSFrame *planes[3] = {made.get(), made.get(), made.get()};
            const int numbers[3] = {0, 1, 2};
            NewFrameHandle frame = own(
                vsapi->newVideoFrame2(vsapi->getVideoFrameFormat(made.get()), vsapi->getFrameWidth(made.get(), 0),
                                      vsapi->getFrameHeight(made.get(), 0), planes, numbers, source.get(), core),
                vsapi);
            data.copyKeys(made.get(), vsapi->getFramePropertiesRW(frame.get()), vsapi);
            return frame.release();
        }
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
    }
    return nullptr;
}

void VS_CC takeOverFree(void *instance, VSCore *, const VSAPI *) noexcept { delete static_cast<TakeOver *>(instance); }

NodeHandle node(const VSMap *in, const char *key, const VSAPI *vsapi) {
    return own(vsapi->mapGetNode(in, key, 0, nullptr), vsapi);
}

}  // namespace

void VS_CC createRepeats(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XRepeats", out, vsapi, [&] {
        auto instance = std::make_unique<Repeats>();
        instance->threshold = vsapi->mapGetFloat(in, "threshold", 0, nullptr);
        instance->keys = strings(in, "keys", vsapi);
        instance->clip = node(in, "clip", vsapi);
        VSVideoInfo info = *vsapi->getVideoInfo(instance->clip.get());
        if (!vsh::isConstantVideoFormat(&info) || (info.format.sampleType == stInteger && info.format.bitsPerSample > 16))
            throw Failure("clip must have constant format and size, and 8 to 16 bit integers, half or float");
        instance->format = info.format;
        vsapi->queryVideoFormat(&instance->gray, cfGray, stInteger, 8, 0, 0, core);
        info.format = instance->gray;
        info.width = info.height = 1;
        NodeHandle made = newNode("XRepeats", info, repeatsFrame, repeatsFree, fmParallel, instance->clip.get(),
                                  rpGeneral, instance.get(), core, vsapi);
        instance.release();
        vsapi->mapConsumeNode(out, "clip", made.release(), maReplace);
    });
}

void VS_CC createDrawings(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XDrawings", out, vsapi, [&] {
        auto instance = std::make_unique<Drawings>(Drawings{node(in, "clip", vsapi), node(in, "repeats", vsapi)});
        const VSVideoInfo &info = *vsapi->getVideoInfo(instance->clip.get());
        NodeHandle made = newNode("XDrawings", info, drawingsFrame, drawingsFree, fmParallel,
                                  {{instance->clip.get(), rpStrictSpatial}, {instance->repeats.get(), rpGeneral}},
                                  instance.get(), core, vsapi);
        instance.release();
        vsapi->mapConsumeNode(out, "clip", made.release(), maReplace);
    });
}

void VS_CC createTakeOver(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XTakeOver", out, vsapi, [&] {
        auto instance = std::make_unique<TakeOver>(TakeOver{strings(in, "keys", vsapi), node(in, "clip", vsapi),
                                                            node(in, "repeats", vsapi), node(in, "source", vsapi)});
        const VSVideoInfo &info = *vsapi->getVideoInfo(instance->clip.get());
        NodeHandle made = newNode("XTakeOver", info, takeOverFrame, takeOverFree, fmParallel,
                                  {{instance->clip.get(), rpGeneral},
                                   {instance->repeats.get(), rpGeneral},
                                   {instance->source.get(), rpStrictSpatial}},
                                  instance.get(), core, vsapi);
        instance.release();
        vsapi->mapConsumeNode(out, "clip", made.release(), maReplace);
    });
}

}  // namespace vssr
