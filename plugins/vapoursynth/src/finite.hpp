// XFinite: the clip without NaN and infinity.
//
// One value that is no number makes everything of its frame one that a network sees in the same window, and of the rest
// of the film where a state is carried. It has to go before anything spreads it: resampling of chroma does, too.
#pragma once

#include <VapourSynth4.h>

#include <cstdint>
#include <cstring>

namespace vssr {

// NaN and infinity are the values whose exponent has all bits set. Compared as integers, which vectorizes, and which
// no option of the compiler about floating point touches.
template <typename Bits>
inline constexpr Bits exponent = sizeof(Bits) == 2 ? static_cast<Bits>(0x7c00) : static_cast<Bits>(0x7f800000);

// Whether the `count` values at `row`, as large as Bits, are finite.
template <typename Bits>
inline bool allFinite(const void *row, int count) {
    Bits found = 0;
    for (int x = 0; x < count; ++x) {
        Bits bits;
        std::memcpy(&bits, static_cast<const char *>(row) + x * sizeof bits, sizeof bits);
        found |= static_cast<Bits>((bits & exponent<Bits>) == exponent<Bits>);
    }
    return !found;
}

// clip     input, of constant format and size, in half or single precision
// prop     integer property that the frames get in which values were replaced by 0, and no others; it is 1
inline constexpr char finiteSignature[] = "clip:vnode;prop:data;";
void VS_CC createFinite(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
