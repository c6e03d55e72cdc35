// XRoute: each frame goes the way that its properties ask for. XAttached: the frames that hang on other frames.
//
// How a frame is converted depends on its properties (matrix, range, ...), which are known only when the frame is there.
// A callback builds the nodes that convert one combination of them; every later frame with the same combination takes
// the same way without a call into Python.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

// clip     input, of constant format and size
// func     func(n, key=value, ...): the integer properties out of `keys` that frame n has, for a property that is a frame
//          its format's number, its width and its height. It answers {"clip": node}, whose frames replace those with
//          the same properties, or {"_error": text}.
// width, height, format    of the output, and of every node that func makes
// name     what errors begin with
inline constexpr char routeSignature[] =
    "clip:vnode;func:func;keys:data[];width:int;height:int;format:int;name:data:opt;";
void VS_CC createRoute(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

// clip     its frames have a frame as the property `prop`, all of this width, height and format
inline constexpr char attachedSignature[] = "clip:vnode;prop:data;width:int;height:int;format:int;";
void VS_CC createAttached(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
