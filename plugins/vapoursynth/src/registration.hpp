// The names in core.vs_sr: the built-in filters, those of installed packages, and those a script adds later.
#pragma once

#include <VapourSynth4.h>

namespace vssr {

inline constexpr char pluginId[] = "org.vs-sr.plugin";

struct Signature {
    const char *name;
    const char *args;
};

// Registers everything that is known when the plugin is loaded.
void registerAll(VSPlugin *plugin, const VSPLUGINAPI *vspapi);

// XRegister(name, args): one more filter, for this core, from now on.
inline constexpr char registerSignature[] = "name:data;args:data;";
void VS_CC registerLate(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) noexcept;

}  // namespace vssr
