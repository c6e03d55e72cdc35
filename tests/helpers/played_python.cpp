// A library that plays Python before helpers/host.cpp: the functions of the stable ABI that the plugin looks up, under the
// names it looks for. Every call of vs_sr fails with what was called; the scan for installed models finds one.
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <string>

#ifdef _WIN32
#define PLAYED extern "C" __declspec(dllexport)
#else
#define PLAYED extern "C" __attribute__((visibility("default")))
#endif

namespace {

// Every object is a text, and lives on: there are a handful.
struct Object {
    std::string text;
};

Object *raised = nullptr;
int held = 0;

}  // namespace

PLAYED int Py_IsInitialized() { return 1; }
PLAYED int PyGILState_Ensure() { return ++held; }
PLAYED void PyGILState_Release(int) { --held; }
PLAYED Object *PyImport_ImportModule(const char *name) { return new Object{name}; }
PLAYED Object *PyObject_CallMethod(Object *module, const char *name, const char *format, ...) {
    std::string argument;
    if (format) {
        va_list arguments;
        va_start(arguments, format);
        argument = va_arg(arguments, const char *);
        va_end(arguments);
    }
    if (module->text == "vs_sr._names" && !std::strcmp(name, "scan"))
        return new Object{"Installed\tclip:vnode;any"};
    raised = new Object{module->text + "." + name + "(" + argument + ")" + (held == 1 ? "" : " without the GIL")};
    return nullptr;
}
PLAYED Object *PyErr_GetRaisedException() { return raised; }
PLAYED void PyErr_Clear() { raised = nullptr; }
PLAYED Object *PyObject_Type(Object *) { return new Object{"type"}; }
PLAYED Object *PyObject_GetAttrString(Object *, const char *) { return new Object{"PlayedError"}; }
PLAYED Object *PyObject_Str(Object *object) { return object; }
PLAYED const char *PyUnicode_AsUTF8AndSize(Object *object, std::ptrdiff_t *size) {
    *size = static_cast<std::ptrdiff_t>(object->text.size());
    return object->text.data();
}
PLAYED void Py_DecRef(Object *) {}
