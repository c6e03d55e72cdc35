// The Python interpreter of the host process, if there is one.
//
// The plugin is not linked to libpython: it looks the few functions it needs up in the running process. So one binary
// serves every version of Python, and a host without Python can still load the plugin.
#pragma once

#include <string>

namespace vssr::python {

// Whether this process runs Python now.
bool available();

// Calls `module.function(argument)` under the GIL and drops the result. Throws Failure with the text of the Python
// exception ("ImportError: ...").
void call(const char *module, const char *function, const char *argument);

// Calls `module.function()` under the GIL; the result must be a str. Throws Failure as above.
std::string text(const char *module, const char *function);

}  // namespace vssr::python
