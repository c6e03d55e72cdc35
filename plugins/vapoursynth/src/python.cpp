#include "python.hpp"

#include "failure.hpp"

#include <cstddef>
#include <memory>
#include <optional>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace vssr::python {
namespace {

struct Object;  // PyObject: only its address is ever used here

// The stable ABI of Python 3.12, as far as it is needed.
struct Interpreter {
    int (*isInitialized)();
    int (*acquire)();
    void (*release)(int);
    Object *(*importModule)(const char *);
    Object *(*callMethod)(Object *, const char *, const char *, ...);
    Object *(*raisedException)();
    Object *(*type)(Object *);
    Object *(*attribute)(Object *, const char *);
    Object *(*str)(Object *);
    const char *(*utf8)(Object *, std::ptrdiff_t *);
    void (*clearError)();
    void (*decref)(Object *);
};

void *symbol(const char *name) {
#ifdef _WIN32
    const HMODULE library = GetModuleHandleW(L"python3.dll");
    return library ? reinterpret_cast<void *>(GetProcAddress(library, name)) : nullptr;
#else
    return dlsym(RTLD_DEFAULT, name);
#endif
}

template <typename Function>
bool bind(Function &function, const char *name) {
    function = reinterpret_cast<Function>(symbol(name));
    return function != nullptr;
}

// Looked up again on each use (microseconds, and only when a filter is created): a host may start Python later.
std::optional<Interpreter> find() {
    Interpreter py{};
    const bool complete =
        bind(py.isInitialized, "Py_IsInitialized") && bind(py.acquire, "PyGILState_Ensure") &&
        bind(py.release, "PyGILState_Release") && bind(py.importModule, "PyImport_ImportModule") &&
        bind(py.callMethod, "PyObject_CallMethod") && bind(py.raisedException, "PyErr_GetRaisedException") &&
        bind(py.type, "PyObject_Type") && bind(py.attribute, "PyObject_GetAttrString") &&
        bind(py.str, "PyObject_Str") && bind(py.utf8, "PyUnicode_AsUTF8AndSize") &&
        bind(py.clearError, "PyErr_Clear") && bind(py.decref, "Py_DecRef");
    if (!complete || !py.isInitialized())
        return std::nullopt;
    return py;
}

class Gil {
public:
    explicit Gil(const Interpreter &py) : release_(py.release), state_(py.acquire()) {}
    ~Gil() { release_(state_); }
    Gil(const Gil &) = delete;
    Gil &operator=(const Gil &) = delete;

private:
    void (*release_)(int);
    int state_;
};

struct DecRef {
    void (*decref)(Object *) = nullptr;
    void operator()(Object *object) const { decref(object); }
};
using Reference = std::unique_ptr<Object, DecRef>;

// str(object), or "" where that fails.
std::string toText(const Interpreter &py, Object *object) {
    const Reference string(object ? py.str(object) : nullptr, {py.decref});
    std::ptrdiff_t size = 0;
    const char *bytes = string ? py.utf8(string.get(), &size) : nullptr;
    if (!bytes) {
        py.clearError();
        return {};
    }
    return std::string(bytes, static_cast<std::size_t>(size));
}

// Takes the Python exception that is set and throws it as "Type: message".
[[noreturn]] void rethrow(const Interpreter &py) {
    const Reference error(py.raisedException(), {py.decref});
    if (!error)
        throw Failure("an unknown Python error");
    const Reference type(py.type(error.get()), {py.decref});
    const Reference name(type ? py.attribute(type.get(), "__name__") : nullptr, {py.decref});
    throw Failure(toText(py, name.get()) + ": " + toText(py, error.get()));
}

Interpreter require() {
    const auto py = find();
    if (!py)
        throw Failure("no Python interpreter is running in this process");
    return *py;
}

Reference callObject(const Interpreter &py, const char *module, const char *function, const char *argument) {
    const Reference imported(py.importModule(module), {py.decref});
    if (!imported)
        rethrow(py);
    Reference result(argument ? py.callMethod(imported.get(), function, "s", argument)
                              : py.callMethod(imported.get(), function, nullptr),
                     {py.decref});
    if (!result)
        rethrow(py);
    return result;
}

}  // namespace

bool available() { return find().has_value(); }

void call(const char *module, const char *function, const char *argument) {
    const Interpreter py = require();
    const Gil gil(py);
    callObject(py, module, function, argument);
}

std::string text(const char *module, const char *function) {
    const Interpreter py = require();
    const Gil gil(py);
    return toText(py, callObject(py, module, function, nullptr).get());
}

}  // namespace vssr::python
