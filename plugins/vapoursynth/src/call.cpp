#include "call.hpp"

#include "failure.hpp"
#include "handles.hpp"
#include "python.hpp"

#include <string>
#include <utility>

namespace vssr {
namespace {

// The creation that waits for Python's answer on this thread. A filter that is built from other filters of ours
// nests creations; each restores the one outside it.
struct Creation {
    const VSMap *in;
    VSMap *out;
};

thread_local Creation *current = nullptr;

class Swap {
public:
    explicit Swap(Creation *inner) : outer_(std::exchange(current, inner)) {}
    ~Swap() { current = outer_; }
    Swap(const Swap &) = delete;
    Swap &operator=(const Swap &) = delete;
    Creation *outer() const { return outer_; }

private:
    Creation *outer_;
};

}  // namespace

void VS_CC create(const VSMap *in, VSMap *out, void *name, VSCore *, const VSAPI *vsapi) noexcept {
    const char *filter = static_cast<const char *>(name);
    guardCall(filter, out, vsapi, [&] {
        if (!python::available())
            throw Failure("this host has no Python interpreter, and the filters of vs_sr run in Python; "
                          "open the script with vspipe or in Python");
        Creation creation{in, out};
        const Swap scope(&creation);
        python::call("vs_sr._entry", "call", filter);
        // An exception that is no ordinary error (KeyboardInterrupt) is in `out` already, and must stay there.
        if (vsapi->mapGetError(out))
            return;
        if (vsapi->mapGetType(out, "_error") == ptData)
            vsapi->mapSetError(out, std::string(vsapi->mapGetData(out, "_error", 0, nullptr)).c_str());
        else if (vsapi->mapGetType(out, "clip") != ptVideoNode)
            throw Failure("vs_sr._entry answered without a clip");
    });
}

void VS_CC answer(const VSMap *in, VSMap *out, void *, VSCore *, const VSAPI *vsapi) noexcept {
    guardCall("XCall", out, vsapi, [&] {
        // While func runs, no creation is open on this thread but those that func starts itself.
        const Swap scope(nullptr);
        if (!scope.outer())
            throw Failure("no filter is being created on this thread; this function is for vs_sr itself");
        const FunctionHandle function = own(vsapi->mapGetFunction(in, "func", 0, nullptr), vsapi);
        vsapi->callFunction(function.get(), scope.outer()->in, scope.outer()->out);
    });
}

}  // namespace vssr
