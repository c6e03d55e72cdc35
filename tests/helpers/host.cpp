// A host of VapourSynth that has no Python, for any platform: `host libvapoursynth played_python`.
//
// The plugin is where VapourSynth loads it by itself. At the end the second library is opened, which plays Python. The
// host is linked to nothing but the C runtime, opens VapourSynth's own library, and does what a script would. Each check
// is a line on stdout; the exit code is the number of those that failed.
#include <VapourSynth4.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

const VSAPI *vs = nullptr;
int failures = 0;

void check(bool well, const std::string &text) {
    std::printf("%s %s\n", well ? "ok" : "FAILED", text.c_str());
    std::fflush(stdout);
    failures += !well;
}

#ifdef _WIN32
HMODULE open(const char *library) { return LoadLibraryExA(library, nullptr, LOAD_WITH_ALTERED_SEARCH_PATH); }
void *symbol(HMODULE library, const char *name) { return reinterpret_cast<void *>(GetProcAddress(library, name)); }
#else
void *open(const char *library) { return dlopen(library, RTLD_NOW | RTLD_GLOBAL); }
void *symbol(void *library, const char *name) { return dlsym(library, name); }
#endif

// What a function of a plugin answers.
VSMap *invoke(VSCore *core, const char *space, const char *function, const std::function<void(VSMap *)> &fill) {
    VSMap *in = vs->createMap();
    fill(in);
    VSMap *out = vs->invoke(vs->getPluginByNamespace(space, core), function, in);
    vs->freeMap(in);
    return out;
}

VSNode *node(VSCore *core, const char *space, const char *function, const std::function<void(VSMap *)> &fill) {
    VSMap *out = invoke(core, space, function, fill);
    const char *error = vs->mapGetError(out);
    if (error)
        check(false, std::string(function) + ": " + error);
    VSNode *made = error ? nullptr : vs->mapGetNode(out, "clip", 0, nullptr);
    vs->freeMap(out);
    return made;
}

VSNode *blank(VSCore *core, int color, int length) {
    return node(core, "std", "BlankClip", [&](VSMap *in) {
        vs->mapSetInt(in, "width", 16, maReplace);
        vs->mapSetInt(in, "height", 8, maReplace);
        vs->mapSetInt(in, "format", pfGray8, maReplace);
        vs->mapSetInt(in, "length", length, maReplace);
        vs->mapSetFloat(in, "color", color, maReplace);
        vs->mapSetInt(in, "fpsnum", 25, maReplace);
        vs->mapSetInt(in, "fpsden", 1, maReplace);
    });
}

// Frame n of the clip is n all over, and has n as its property "Way".
VSNode *numbered(VSCore *core, int length) {
    VSMap *clips = vs->createMap();
    for (int n = 0; n < length; ++n) {
        VSNode *one = blank(core, n, 1);
        VSNode *marked = node(core, "std", "SetFrameProps", [&](VSMap *in) {
            vs->mapSetNode(in, "clip", one, maReplace);
            vs->mapSetInt(in, "Way", n, maReplace);
        });
        vs->mapConsumeNode(clips, "clips", marked, maAppend);
        vs->freeNode(one);
    }
    VSNode *joined = node(core, "std", "Splice", [&](VSMap *in) { vs->copyMap(clips, in); });
    vs->freeMap(clips);
    return joined;
}

int pixel(const VSFrame *frame) { return *vs->getReadPtr(frame, 0); }

// XTemporal's callback: each of the group's first frames, `want` in all, made again: 10 * input + its place.
void VS_CC temporal(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *) {
    const int want = static_cast<int>(vs->mapGetInt(in, "want", 0, nullptr));
    for (int k = 0; k < want; ++k) {
        const VSFrame *source = vs->mapGetFrame(in, "f", k / 2, nullptr);
        VSFrame *made = vs->newVideoFrame(vs->getVideoFrameFormat(source), vs->getFrameWidth(source, 0),
                                          vs->getFrameHeight(source, 0), nullptr, core);
        for (int y = 0; y < vs->getFrameHeight(made, 0); ++y)
            std::memset(vs->getWritePtr(made, 0) + y * vs->getStride(made, 0), 10 * pixel(source) + k % 2,
                        static_cast<std::size_t>(vs->getFrameWidth(made, 0)));
        vs->mapConsumeFrame(out, "val", made, maAppend);
        vs->freeFrame(source);
    }
}

// XRoute's callback: a clip of another color for each value of "Way".
void VS_CC route(const VSMap *in, VSMap *out, void *length, VSCore *core, const VSAPI *) {
    const int way = static_cast<int>(vs->mapGetInt(in, "Way", 0, nullptr));
    vs->mapConsumeNode(out, "clip", blank(core, 200 + way, *static_cast<int *>(length)), maReplace);
}

// The values of a clip's frames, joined by commas, in the order that they are asked for.
std::string values(VSNode *clip, bool backwards) {
    std::string text;
    const int length = vs->getVideoInfo(clip)->numFrames;
    for (int i = 0; i < length; ++i) {
        char error[512] = "";
        const VSFrame *frame = vs->getFrame(backwards ? length - 1 - i : i, clip, error, sizeof error);
        text += (i ? "," : "") + (frame ? std::to_string(pixel(frame)) : std::string(error));
        if (frame)
            vs->freeFrame(frame);
    }
    return text;
}

// The error that a filter of ours answers with.
std::string refusal(VSCore *core, const char *filter, VSNode *clip) {
    VSMap *out = invoke(core, "vs_sr", filter, [&](VSMap *in) { vs->mapSetNode(in, "clip", clip, maReplace); });
    const char *error = vs->mapGetError(out);
    const std::string text = error ? error : "no error";
    vs->freeMap(out);
    return text;
}

VSCore *newCore();

void run(VSCore *core, bool backwards) {
    int length = 5;
    VSNode *source = numbered(core, length);

    const auto image = [&](VSMap *in) {
        vs->mapSetNode(in, "clip", source, maReplace);
        vs->mapSetInt(in, "width", 16, maReplace);
        vs->mapSetInt(in, "height", 8, maReplace);
        vs->mapSetInt(in, "format", pfGray8, maReplace);
    };
    VSNode *doubled = node(core, "vs_sr", "XTemporal", [&](VSMap *in) {
        image(in);
        for (const auto &[key, value] : {std::pair{"step", 2}, {"multi", 2}, {"groups", 2}, {"before", 0}, {"after", 0}})
            vs->mapSetInt(in, key, value, maReplace);
        vs->mapConsumeFunction(in, "func", vs->createFunction(temporal, nullptr, nullptr, core), maReplace);
    });
    if (doubled) {
        const VSVideoInfo &info = *vs->getVideoInfo(doubled);
        check(info.numFrames == 10 && info.fpsNum == 50, "XTemporal doubles length and rate");
        const std::string found = values(doubled, backwards);
        check(found == (backwards ? "41,40,31,30,21,20,11,10,1,0" : "0,1,10,11,20,21,30,31,40,41"),
              "XTemporal's frames: " + found);
        vs->freeNode(doubled);
    }

    VSNode *routed = node(core, "vs_sr", "XRoute", [&](VSMap *in) {
        image(in);
        vs->mapSetData(in, "keys", "Way", -1, dtUtf8, maReplace);
        vs->mapConsumeFunction(in, "func", vs->createFunction(route, &length, nullptr, core), maReplace);
    });
    if (routed) {
        const std::string found = values(routed, backwards);
        check(found == (backwards ? "204,203,202,201,200" : "200,201,202,203,204"), "XRoute's frames: " + found);
        vs->freeNode(routed);
    }

    const std::string error = refusal(core, "ZoomingSlowMo", source);
    check(error.find("this host has no Python interpreter") != std::string::npos, error);
    vs->freeNode(source);
}

// A core of a host that has started Python: models of other packages are there, and calls get to Python.
void runWithPython() {
    VSCore *core = newCore();
    VSNode *source = blank(core, 0, 1);
    for (const char *filter : {"ZoomingSlowMo", "Installed"}) {
        const std::string expected = std::string(filter) + ": PlayedError: vs_sr._entry.call(" + filter + ")";
        const std::string error = refusal(core, filter, source);
        check(error == expected, "with Python: " + error);
    }
    vs->freeNode(source);
    vs->freeCore(core);
}

void VS_CC print(int type, const char *text, void *) {
    if (type >= mtWarning)
        std::printf("log %s\n", text);
}

VSCore *newCore() {
    VSCore *core = vs->createCore(0);
    vs->addLogHandler(print, nullptr, nullptr, core);
    check(vs->getPluginByNamespace("vs_sr", core) != nullptr, "core.vs_sr is there by itself");
    return core;
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 3)
        return 99;
    using Entry = const VSAPI *(VS_CC *)(int);
    const auto library = open(arguments[1]);
    check(library, "VapourSynth's library opens");
    const auto get = library ? reinterpret_cast<Entry>(symbol(library, "getVapourSynthAPI")) : nullptr;
    vs = get ? get(VAPOURSYNTH_API_VERSION) : nullptr;
    check(vs, "and has the API");
    if (failures)
        return failures;

    // Two cores: the second begins in the first one's life and ends after it.
    VSCore *cores[2] = {newCore(), newCore()};
    if (failures)
        return failures;
    VSPlugin *plugin = vs->getPluginByNamespace("vs_sr", cores[0]);
    for (VSPluginFunction *f = vs->getNextPluginFunction(nullptr, plugin); f; f = vs->getNextPluginFunction(f, plugin))
        std::printf("function %s(%s)\n", vs->getPluginFunctionName(f), vs->getPluginFunctionArguments(f));
    run(cores[0], false);
    run(cores[1], true);

    check(open(arguments[2]), "Python is played");
    if (!failures)
        runWithPython();
    for (VSCore *core : cores)
        vs->freeCore(core);
    check(true, "all cores are freed");
    return failures;
}
