#include "group.hpp"

#include "failure.hpp"
#include "rational.hpp"

#include <VSHelper4.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace vssr {
namespace {

// What a request for a group has achieved; the node's frame data, from arInitial to the group's last callback. Nobody
// else knows of it, so it is freed with its request however that ends.
struct Request {
    std::vector<int> held;  // the input frames that it has asked for, in that order
    FunctionHandle then;    // who goes on when they are there; the group's callback where that is empty

    bool holds(std::int64_t index) const { return std::find(held.begin(), held.end(), index) != held.end(); }
};

std::string describe(const VSVideoFormat &format, int width, int height, const VSAPI *vsapi) {
    char name[32] = "an unknown format";
    vsapi->getVideoFormatName(&format, name);
    return std::to_string(width) + "x" + std::to_string(height) + " " + name;
}

// One group in the making: everything that a single arAllFramesReady needs.
class Call {
public:
    Call(const Group &group, int g, Request &request, VSFrameContext *context, VSCore *core, const VSAPI *vsapi)
        : group_(group), g_(g), request_(request), held_(request.held), context_(context), core_(core),
          vsapi_(vsapi) {}

    // The carrier, or the group's only frame; or null after more input frames have been requested.
    const VSFrame *run() {
        const MapHandle answer = ask();
        if (const char *error = vsapi_->mapGetError(answer.get()))
            throw Failure(error);
        if (vsapi_->mapNumElements(answer.get(), "_error") > 0)
            throw Failure(vsapi_->mapGetData(answer.get(), "_error", 0, nullptr));
        if (vsapi_->mapNumElements(answer.get(), "need") >= 0) {
            await(answer.get());
            return nullptr;
        }
        return collect(answer.get());
    }

private:
    [[noreturn]] void fail(const std::string &text) const {
        throw Failure(group_.name + ": group " + std::to_string(g_) + ": " + text);
    }

    // Calls back with all frames that are held: whoever the request is to go on with, and that once.
    MapHandle ask() const {
        const FunctionHandle then = std::move(request_.then);
        const MapHandle in = newMap(vsapi_);
        const std::vector<std::int64_t> indices(held_.begin(), held_.end());
        vsapi_->mapSetInt(in.get(), "g", g_, maReplace);
        vsapi_->mapSetInt(in.get(), "want", group_.grid.wanted(g_), maReplace);
        vsapi_->mapSetIntArray(in.get(), "n", indices.data(), static_cast<int>(indices.size()));
        for (const int n : held_)
            vsapi_->mapConsumeFrame(in.get(), "f", vsapi_->getFrameFilter(n, group_.clip.get(), context_), maAppend);
        MapHandle out = newMap(vsapi_);
        vsapi_->callFunction(then ? then.get() : group_.callback.get(), in.get(), out.get());
        return out;
    }

    std::vector<std::int64_t> integers(const VSMap *answer, const char *key) const {
        const int count = vsapi_->mapNumElements(answer, key);
        if (count < 0)
            return {};
        if (vsapi_->mapGetType(answer, key) != ptInt)
            fail(std::string("\"") + key + "\" must be a list of frame numbers");
        const std::int64_t *values = vsapi_->mapGetIntArray(answer, key, nullptr);
        return std::vector<std::int64_t>(values, values + count);
    }

    // {"need": ..., "drop": ..., "then": ...}: gives frames back, then asks for others.
    void await(const VSMap *answer) {
        if (vsapi_->mapNumElements(answer, "then") > 0) {
            if (vsapi_->mapGetType(answer, "then") != ptFunction)
                fail("\"then\" must be a function");
            request_.then = own(vsapi_->mapGetFunction(answer, "then", 0, nullptr), vsapi_);
        }
        for (const std::int64_t n : integers(answer, "drop")) {
            if (!request_.holds(n))
                fail("drops input frame " + std::to_string(n) + ", which it does not hold");
            if (group_.grid.owned(g_).contains(n))
                fail("drops input frame " + std::to_string(n) + ", which is one of its own");
            held_.erase(std::find(held_.begin(), held_.end(), n));
            vsapi_->releaseFrameEarly(group_.clip.get(), static_cast<int>(n), context_);
        }
        const std::vector<std::int64_t> needed = integers(answer, "need");
        if (needed.empty())
            fail("\"need\" names no frame");
        if (held_.size() + needed.size() > maxHeld)
            fail("needs " + std::to_string(needed.size()) + " input frames more than the " +
                 std::to_string(held_.size()) + " it holds; " + std::to_string(maxHeld) + " at once is the limit");
        for (const std::int64_t n : needed) {
            if (n < 0 || n >= group_.grid.inputs())
                fail("needs input frame " + std::to_string(n) + "; the clip has frames 0 to " +
                     std::to_string(group_.grid.inputs() - 1));
            if (request_.holds(n))
                fail("needs input frame " + std::to_string(n) + ", which it holds already");
            held_.push_back(static_cast<int>(n));
        }
        for (const std::int64_t n : needed)
            vsapi_->requestFrameFilter(static_cast<int>(n), group_.clip.get(), context_);
    }

    // {"val": frames}: checks them and puts them into a carrier, unless it is one alone.
    const VSFrame *collect(const VSMap *answer) const {
        const int wanted = group_.grid.wanted(g_);
        const int count = std::max(0, vsapi_->mapNumElements(answer, "val"));
        if (count > 0 && vsapi_->mapGetType(answer, "val") != ptVideoFrame)
            fail("the callback's answer must be video frames");
        if (count != wanted)
            fail("the callback made " + std::to_string(count) + " frames; " + std::to_string(wanted) +
                 " are wanted");
        if (group_.grid.single()) {
            const FrameHandle made = own(vsapi_->mapGetFrame(answer, "val", 0, nullptr), vsapi_);
            check(made.get(), 0);
            return wrap(made.get(), 0);
        }
        VSVideoFormat gray{};
        vsapi_->queryVideoFormat(&gray, cfGray, stInteger, 8, 0, 0, core_);
        NewFrameHandle carrier = own(vsapi_->newVideoFrame(&gray, 1, 1, nullptr, core_), vsapi_);
        VSMap *carried = vsapi_->getFramePropertiesRW(carrier.get());
        for (int k = 0; k < count; ++k) {
            const FrameHandle made = own(vsapi_->mapGetFrame(answer, "val", k, nullptr), vsapi_);
            check(made.get(), k);
            vsapi_->mapConsumeFrame(carried, carrierKey, wrap(made.get(), k), maAppend);
        }
        return carrier.release();
    }

    void check(const VSFrame *made, int k) const {
        const VSVideoFormat &format = *vsapi_->getVideoFrameFormat(made);
        const int width = vsapi_->getFrameWidth(made, 0);
        const int height = vsapi_->getFrameHeight(made, 0);
        const VSVideoInfo &output = group_.output;
        if (width != output.width || height != output.height || !vsh::isSameVideoFormat(&format, &output.format))
            fail("frame " + std::to_string(k) + " of the callback's answer is " +
                 describe(format, width, height, vsapi_) + "; " +
                 describe(output.format, output.width, output.height, vsapi_) + " is wanted");
    }

    // Output frame k of the group: the planes that Python made, shared and not copied; the properties of the input
    // frame it stems from, with the time divided; and over these what Python has set.
    const VSFrame *wrap(const VSFrame *made, int k) const {
        const std::int64_t output_number = group_.grid.firstOf(group_.grid.owned(g_).first) + k;
        const int input = group_.grid.inputOf(output_number);
        const FrameHandle source = own(vsapi_->getFrameFilter(input, group_.clip.get(), context_), vsapi_);
        const VSFrame *planes[3] = {made, made, made};
        const int numbers[3] = {0, 1, 2};
        const VSVideoInfo &output = group_.output;
        VSFrame *frame = vsapi_->newVideoFrame2(&output.format, output.width, output.height, planes, numbers,
                                                source.get(), core_);
        VSMap *props = vsapi_->getFramePropertiesRW(frame);
        dropOurs(props);
        if (group_.grid.rate().constant)
            setTime(props, output_number, input);
        else
            divideTime(props, static_cast<int>(output_number - group_.grid.firstOf(input)));
        // Where cuts lie among the outputs is for the callback to say: the input's marks are of its own neighbors.
        vsapi_->mapDeleteKey(props, "_SceneChangePrev");
        vsapi_->mapDeleteKey(props, "_SceneChangeNext");
        vsapi_->copyMap(vsapi_->getFramePropertiesRO(made), props);
        return frame;
    }

    // What the filter's nodes tell each other of an input frame is none of the output's.
    void dropOurs(VSMap *props) const {
        for (int i = vsapi_->mapNumKeys(props) - 1; i >= 0; --i) {
            const std::string key = vsapi_->mapGetKey(props, i);
            if (key.rfind("_vs_sr_", 0) == 0)
                vsapi_->mapDeleteKey(props, key.c_str());
        }
    }

    // The input frame's duration is shared out evenly among its `multi` outputs; `sub` is the place of this one.
    void divideTime(VSMap *props, int sub) const {
        const int multi = group_.grid.rate().multi;
        int absent = 0;
        const std::int64_t num = vsapi_->mapGetInt(props, "_DurationNum", 0, &absent);
        if (absent)
            return;
        const std::int64_t den = vsapi_->mapGetInt(props, "_DurationDen", 0, &absent);
        if (absent || num <= 0 || den <= 0)
            return;
        if (const auto part = scaled({num, den}, 1, multi)) {
            vsapi_->mapSetInt(props, "_DurationNum", part->num, maReplace);
            vsapi_->mapSetInt(props, "_DurationDen", part->den, maReplace);
        } else {
            // A denominator near 2^63: no duration is better than a wrong one.
            vsapi_->mapDeleteKey(props, "_DurationNum");
            vsapi_->mapDeleteKey(props, "_DurationDen");
        }
        const double time = vsapi_->mapGetFloat(props, "_AbsoluteTime", 0, &absent);
        if (!absent && sub > 0) {
            const double duration = static_cast<double>(num) / static_cast<double>(den);
            vsapi_->mapSetFloat(props, "_AbsoluteTime", time + sub * duration / multi, maReplace);
        }
    }

    // At a constant rate every output lasts as long, and is shown at its number over the rate.
    void setTime(VSMap *props, std::int64_t n, int input) const {
        const VSVideoInfo &output = group_.output;
        vsapi_->mapSetInt(props, "_DurationNum", output.fpsDen, maReplace);
        vsapi_->mapSetInt(props, "_DurationDen", output.fpsNum, maReplace);
        int absent = 0;
        const double time = vsapi_->mapGetFloat(props, "_AbsoluteTime", 0, &absent);
        if (absent)
            return;
        const Rate &rate = group_.grid.rate();
        const double later = static_cast<double>(n * rate.per - std::int64_t{input} * rate.multi) / rate.per;
        vsapi_->mapSetFloat(props, "_AbsoluteTime",
                            time + later * static_cast<double>(output.fpsDen) / static_cast<double>(output.fpsNum),
                            maReplace);
    }

    const Group &group_;
    const int g_;
    Request &request_;
    std::vector<int> &held_;
    VSFrameContext *const context_;
    VSCore *const core_;
    const VSAPI *const vsapi_;
};

}  // namespace

const VSFrame *VS_CC groupFrame(int g, int reason, void *data, void **pending, VSFrameContext *context, VSCore *core,
                                const VSAPI *vsapi) noexcept {
    try {
        const Group &group = *static_cast<const Group *>(data);
        if (reason == arInitial) {
            const Span window = group.grid.window(g);
            auto request = std::make_unique<Request>();
            for (int n = window.first; request->held.size() < static_cast<std::size_t>(window.size()); ++n)
                request->held.push_back(n);
            for (const int n : request->held)
                vsapi->requestFrameFilter(n, group.clip.get(), context);
            *pending = request.release();
            return nullptr;
        }
        std::unique_ptr<Request> request(static_cast<Request *>(std::exchange(*pending, nullptr)));
        if (reason != arAllFramesReady)
            return nullptr;  // an input frame cannot be had
        const VSFrame *carrier = Call(group, g, *request, context, core, vsapi).run();
        if (!carrier)
            *pending = request.release();
        return carrier;
    } catch (...) {
        vsapi->setFilterError(caughtText().c_str(), context);
        return nullptr;
    }
}

void VS_CC groupFree(void *group, VSCore *, const VSAPI *) noexcept { delete static_cast<Group *>(group); }

}  // namespace vssr
