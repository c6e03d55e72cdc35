// Where VapourSynth enters the plugin.
#include "failure.hpp"
#include "registration.hpp"

#include <cstdio>

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    // Modifiable: scripts may register models of their own later on.
    if (!vspapi->configPlugin(vssr::pluginId, "vs_sr", "Space-time super-resolution",
                              VS_MAKE_VERSION(VS_SR_VERSION_MAJOR, VS_SR_VERSION_MINOR), VAPOURSYNTH_API_VERSION,
                              pcModifiable, plugin))
        return;
    try {
        vssr::registerAll(plugin, vspapi);
    } catch (...) {
        std::fprintf(stderr, "vs_sr: %s\n", vssr::caughtText().c_str());
    }
}
