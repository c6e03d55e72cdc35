#include "planes.hpp"

#include "arguments.hpp"
#include "avx2.hpp"
#include "failure.hpp"
#include "finite.hpp"
#include "handles.hpp"

#include <VSHelper4.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vssr {
namespace {

constexpr int taps = 8;
constexpr int first = -3;  // chroma sample c is made of the pixels 2c - 3 ... 2c + 4
constexpr int ring = 16;   // rows of chroma, filtered along x, that are kept: a power of two above taps + 1

struct Conversion {
    float matrix[3][3];  // codes of Y, U and V from R, G and B
    float offset[3];     // codes of 0
    float peak;          // the largest code
    float filterX[taps];
    float filterY[taps];
};

// Nearest code, ties to even, as torch and zimg round: 1.5 * 2^23 pushes the fraction out of a float.
template <typename Code>
VSSR_LOOP void store(const float *row, int width, float offset, float peak, Code *out) {
    for (int x = 0; x < width; ++x) {
        float value = row[x] + offset;
        value = value < 0.0f ? 0.0f : value;
        value = value > peak ? peak : value;
        const float pushed = value + 12582912.0f;
        std::int32_t bits;
        std::memcpy(&bits, &pushed, sizeof bits);
        out[x] = static_cast<Code>(bits & 0xffff);
    }
}

VSSR_LOOP void multiply(const float *__restrict r, const float *__restrict g, const float *__restrict b, int width,
                        const Conversion *how, float *__restrict y, float *__restrict u, float *__restrict v) {
    const float (&m)[3][3] = how->matrix;
    const float y0 = m[0][0], y1 = m[0][1], y2 = m[0][2];
    const float u0 = m[1][0], u1 = m[1][1], u2 = m[1][2];
    const float v0 = m[2][0], v1 = m[2][1], v2 = m[2][2];
    for (int x = 0; x < width; ++x) {
        y[x] = y0 * r[x] + y1 * g[x] + y2 * b[x];
        u[x] = u0 * r[x] + u1 * g[x] + u2 * b[x];
        v[x] = v0 * r[x] + v1 * g[x] + v2 * b[x];
    }
}

VSSR_LOOP void unpack(const float *__restrict from, std::ptrdiff_t step, int width, float *__restrict to) {
    if (step == 3)  // channels last: the usual case, with a step that the compiler knows
        for (int x = 0; x < width; ++x)
            to[x] = from[std::ptrdiff_t{3} * x];
    else
        for (int x = 0; x < width; ++x)
            to[x] = from[step * x];
}

// The sum of rows by their weights, the first one first.
VSSR_LOOP void weigh(const float *const *rows, const float *weights, int width, float *__restrict sum) {
    const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    const float *r4 = rows[4], *r5 = rows[5], *r6 = rows[6], *r7 = rows[7];
    const float w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    const float w4 = weights[4], w5 = weights[5], w6 = weights[6], w7 = weights[7];
    for (int x = 0; x < width; ++x)
        sum[x] = w0 * r0[x] + w1 * r1[x] + w2 * r2[x] + w3 * r3[x] + w4 * r4[x] + w5 * r5[x] + w6 * r6[x] + w7 * r7[x];
}

VSSR_LOOP void split(const float *__restrict row, int half, float *__restrict even, float *__restrict odd) {
    for (int x = 0; x < half; ++x) {
        even[x] = row[2 * x];
        odd[x] = row[2 * x + 1];
    }
}

// Mirrored at the edges, which are between pixels; clamped where an image is smaller than the filter.
inline int inside(int index, int size) {
    index = index < 0 ? -1 - index : index;
    index = index >= size ? 2 * size - 1 - index : index;
    return std::clamp(index, 0, size - 1);
}

// One of U and V on its way to the frame.
class Chroma {
public:
    Chroma(int width, int height, int shiftX, int shiftY, const Conversion &how)
        : height_(height), columns_(width >> shiftX), shiftX_(shiftX), shiftY_(shiftY), how_(how),
          row_(static_cast<std::size_t>(width)), even_(row_.size() / 2 + taps / 2), odd_(even_.size()),
          sum_(static_cast<std::size_t>(columns_)),
          rows_(static_cast<std::size_t>(ring) * columns_) {}

    // Where row y of the image goes, multiplied.
    float *row() { return row_.data(); }

    // Takes row y in; then calls `ready(n, codes without offset)` for all rows of chroma that are known by it.
    template <typename Ready>
    void take(int y, Ready &&ready) {
        float *kept = at(y);
        if (shiftX_)
            halve(kept);
        else
            std::copy(row_.begin(), row_.end(), kept);
        if (!shiftY_) {
            ready(y, kept);
            return;
        }
        for (; next_ < height_ / 2 && std::min(2 * next_ + first + taps - 1, height_ - 1) <= y; ++next_) {
            const float *rows[taps];
            for (int k = 0; k < taps; ++k)
                rows[k] = at(inside(2 * next_ + first + k, height_));
            onBest<weigh>(rows, how_.filterY, columns_, sum_.data());
            ready(next_, sum_.data());
        }
    }

private:
    float *at(int y) { return rows_.data() + static_cast<std::size_t>(y % ring) * columns_; }

    void halve(float *out) {
        const int width = static_cast<int>(row_.size());
        // even_[c + 2] is pixel 2c, odd_[c + 2] the one after it
        onBest<split>(row_.data(), columns_, even_.data() + 2, odd_.data() + 2);
        for (const int c : {-2, -1, columns_, columns_ + 1}) {
            even_[c + 2] = row_[inside(2 * c, width)];
            odd_[c + 2] = row_[inside(2 * c + 1, width)];
        }
        const float *rows[taps];
        for (int k = 0; k < taps; ++k)  // pixel 2c - 3 + k is odd for even k
            rows[k] = (k % 2 ? even_.data() : odd_.data()) + (k + 1) / 2;
        onBest<weigh>(rows, how_.filterX, columns_, out);
    }

    const int height_, columns_, shiftX_, shiftY_;
    const Conversion &how_;
    std::vector<float> row_, even_, odd_, sum_, rows_;
    int next_ = 0;
};

class Writer {
public:
    Writer(VSFrame *frame, int bytes, float peak, const VSAPI *vsapi)
        : frame_(frame), bytes_(bytes), peak_(peak), vsapi_(vsapi) {}

    void operator()(int plane, int y, const float *row, int width, float offset) const {
        std::uint8_t *out = vsapi_->getWritePtr(frame_, plane) + y * vsapi_->getStride(frame_, plane);
        if (bytes_ == 1)
            onBest<store<std::uint8_t>>(row, width, offset, peak_, out);
        else
            onBest<store<std::uint16_t>>(row, width, offset, peak_, reinterpret_cast<std::uint16_t *>(out));
    }

private:
    VSFrame *const frame_;
    const int bytes_;
    const float peak_;
    const VSAPI *const vsapi_;
};

// An image in memory.
struct Image {
    const float *first;
    const std::int64_t *strides;  // from channel to channel, row to row, and pixel to pixel
    int width;
    int height;

    // Row y of a channel: where it is, or in `room`.
    const float *row(int channel, int y, float *room) const {
        const float *there = first + channel * strides[0] + y * strides[1];
        if (strides[2] == 1)
            return there;
        onBest<unpack>(there, static_cast<std::ptrdiff_t>(strides[2]), width, room);
        return room;
    }
};

// YUV of the image. Whether that is finite: all of a pixel goes into luma, so luma tells.
bool convert(const Image &image, const VSVideoFormat &format, const Conversion &how, const Writer &write) {
    const int width = image.width;
    std::vector<float> rooms[3];
    std::vector<float> luma(static_cast<std::size_t>(width));
    for (auto &room : rooms)
        room.resize(luma.size());
    Chroma chroma[2] = {{width, image.height, format.subSamplingW, format.subSamplingH, how},
                        {width, image.height, format.subSamplingW, format.subSamplingH, how}};
    bool finite = true;
    for (int y = 0; y < image.height; ++y) {
        const float *rgb[3];
        for (int channel = 0; channel < 3; ++channel)
            rgb[channel] = image.row(channel, y, rooms[channel].data());
        onBest<multiply>(rgb[0], rgb[1], rgb[2], width, &how, luma.data(), chroma[0].row(), chroma[1].row());
        finite &= allFinite<std::uint32_t>(luma.data(), width);
        write(0, y, luma.data(), width, how.offset[0]);
        for (int part = 0; part < 2; ++part)
            chroma[part].take(y, [&](int n, const float *row) {
                write(1 + part, n, row, width >> format.subSamplingW, how.offset[1 + part]);
            });
    }
    return finite;
}

// The image as it is. Whether that is finite.
bool copy(const Image &image, const VSVideoFormat &format, VSFrame *frame, const VSAPI *vsapi) {
    const std::size_t bytes = static_cast<std::size_t>(image.width) * sizeof(float);
    bool finite = true;
    for (int plane = 0; plane < format.numPlanes; ++plane) {
        std::uint8_t *out = vsapi->getWritePtr(frame, plane);
        for (int y = 0; y < image.height; ++y, out += vsapi->getStride(frame, plane)) {
            auto *room = reinterpret_cast<float *>(out);
            const float *row = image.row(plane, y, room);
            if (row != room)
                std::memcpy(room, row, bytes);
            finite &= allFinite<std::uint32_t>(room, image.width);
        }
    }
    return finite;
}

}  // namespace

void VS_CC createPlanes(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XPlanes", out, vsapi, [&] {
        const VSVideoInfo output = readPicture(in, VSVideoInfo{}, core, vsapi);
        const VSVideoFormat &format = output.format;
        const bool floats = format.sampleType == stFloat && format.bitsPerSample == 32 && format.colorFamily != cfYUV;
        if (!floats && (format.colorFamily != cfYUV || format.sampleType != stInteger || format.bitsPerSample > 16 ||
                        format.subSamplingW > 1 || format.subSamplingH > 1))
            throw Failure("format must be RGBS, GRAYS, or YUV of 8 to 16 bits with chroma of at least half the width "
                          "and height");
        if (vsapi->mapNumElements(in, "strides") != 3)
            throw Failure("strides must be three");
        const auto pointer = static_cast<std::uintptr_t>(vsapi->mapGetInt(in, "pointer", 0, nullptr));
        const Image image{reinterpret_cast<const float *>(pointer), vsapi->mapGetIntArray(in, "strides", nullptr),
                          output.width, output.height};
        NewFrameHandle frame = own(vsapi->newVideoFrame(&format, output.width, output.height, nullptr, core), vsapi);
        bool finite = false;
        if (floats) {
            finite = copy(image, format, frame.get(), vsapi);
        } else {
            Conversion how;
            const std::string bytes =
                vsapi->mapNumElements(in, "conversion") > 0 ? data(in, "conversion", 0, vsapi) : std::string();
            if (bytes.size() != sizeof how)
                throw Failure("conversion must have " + std::to_string(sizeof how) + " bytes; got " +
                              std::to_string(bytes.size()));
            std::memcpy(&how, bytes.data(), sizeof how);
            finite = convert(image, format, how, Writer(frame.get(), format.bytesPerSample, how.peak, vsapi));
        }
        vsapi->mapSetInt(out, "finite", finite, maReplace);
        vsapi->mapConsumeFrame(out, "frame", frame.release(), maReplace);
    });
}

}  // namespace vssr
