// No C++ exception leaves the plugin: every entry point from VapourSynth turns it into the core's own kind of error.
#pragma once

#include <VapourSynth4.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace vssr {

// An error whose text is for the user.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The text of the exception in flight; to be called in a catch block.
inline std::string caughtText() {
    try {
        throw;
    } catch (const std::exception &error) {
        return error.what();
    } catch (...) {
        return "an unknown C++ exception";
    }
}

// Runs the body of a function that scripts call; what it throws becomes `"name: text"`.
template <typename Body>
void guardCall(const char *name, VSMap *out, const VSAPI *vsapi, Body &&body) noexcept {
    try {
        body();
    } catch (...) {
        vsapi->mapSetError(out, (std::string(name) + ": " + caughtText()).c_str());
    }
}

}  // namespace vssr
