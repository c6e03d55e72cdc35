#include "registration.hpp"

#include "arguments.hpp"
#include "call.hpp"
#include "failure.hpp"
#include "finite.hpp"
#include "planes.hpp"
#include "python.hpp"
#include "repeats.hpp"
#include "route.hpp"
#include "signatures.hpp"
#include "temporal.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>

namespace vssr {
namespace {

constexpr char clipResult[] = "clip:vnode;";

// VapourSynth keeps the pointer to a function's data for the life of its core and never gives it back, so names live
// as long as the process; there are only as many as there are different names.
void *intern(const std::string &name) {
    static std::mutex mutex;
    static std::set<std::string> names;
    const std::lock_guard<std::mutex> lock(mutex);
    return const_cast<char *>(names.insert(name).first->c_str());
}

// Lines of "Name\tsignature" from the packages that are installed. The scan reads files and imports nothing. A fault
// here must not take the built-in filters away, and there is no core yet to log it with.
void registerInstalled(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    std::string lines;
    try {
        if (!python::available())
            return;
        lines = python::text("vs_sr._names", "scan");
    } catch (...) {
        std::fprintf(stderr, "vs_sr: installed models are not listed: %s\n", caughtText().c_str());
        return;
    }
    std::size_t begin = 0;
    while (begin < lines.size()) {
        const std::size_t end = std::min(lines.find('\n', begin), lines.size());
        const std::size_t tab = lines.find('\t', begin);
        if (tab < end) {
            const std::string name = lines.substr(begin, tab - begin);
            const std::string args = lines.substr(tab + 1, end - tab - 1);
            vspapi->registerFunction(name.c_str(), args.c_str(), clipResult, create, intern(name), plugin);
        }
        begin = end + 1;
    }
}

// VapourSynth's rule for names; not std::isalpha, which depends on the locale.
bool isName(const std::string &name) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto legal = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; };
    return !name.empty() && letter(name.front()) && std::all_of(name.begin(), name.end(), legal);
}

}  // namespace

void registerAll(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    vspapi->registerFunction("XCall", callSignature, "any", answer, nullptr, plugin);
    vspapi->registerFunction("XTemporal", temporalSignature, clipResult, createTemporal, nullptr, plugin);
    vspapi->registerFunction("XRoute", routeSignature, clipResult, createRoute, nullptr, plugin);
    vspapi->registerFunction("XAttached", attachedSignature, clipResult, createAttached, nullptr, plugin);
    vspapi->registerFunction("XFinite", finiteSignature, clipResult, createFinite, nullptr, plugin);
    vspapi->registerFunction("XRepeats", repeatsSignature, clipResult, createRepeats, nullptr, plugin);
    vspapi->registerFunction("XDrawings", drawingsSignature, clipResult, createDrawings, nullptr, plugin);
    vspapi->registerFunction("XTakeOver", takeOverSignature, clipResult, createTakeOver, nullptr, plugin);
    vspapi->registerFunction("XPlanes", planesSignature, planesResult, createPlanes, nullptr, plugin);
    vspapi->registerFunction("XRegister", registerSignature, "", registerLate, nullptr, plugin);
    for (const Signature &filter : builtinFilters)
        vspapi->registerFunction(filter.name, filter.args, clipResult, create, const_cast<char *>(filter.name),
                                 plugin);
    registerInstalled(plugin, vspapi);
}

void VS_CC registerLate(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) noexcept {
    guardCall("XRegister", out, vsapi, [&] {
        const std::string name = data(in, "name", 0, vsapi);
        const std::string args = data(in, "args", 0, vsapi);
        VSPlugin *plugin = vsapi->getPluginByID(pluginId, core);
        // VapourSynth answers both of these with no more than a line on stderr.
        if (!isName(name))
            throw Failure("'" + name + "' cannot be a filter's name; use letters, digits and _, a letter first");
        if (vsapi->getPluginFunctionByName(name.c_str(), plugin))
            throw Failure("core.vs_sr has a function '" + name + "' already; choose another name");
        if (!vsapi->registerFunction(name.c_str(), args.c_str(), clipResult, create, intern(name), plugin))
            throw Failure("VapourSynth refuses the signature '" + args + "' of '" + name +
                          "'; it reads like \"clip:vnode;scale:int:opt;\"");
    });
}

}  // namespace vssr
