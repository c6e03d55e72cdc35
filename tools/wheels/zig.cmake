# CMake's toolchain file for `make wheels`: the compiler of ziglang, which brings every platform's headers and libraries.
# What it is set by comes from the environment; see tools/wheels/build.py.
set(CMAKE_SYSTEM_NAME $ENV{VS_SR_SYSTEM})
set(CMAKE_SYSTEM_PROCESSOR $ENV{VS_SR_PROCESSOR})
set(CMAKE_CXX_COMPILER $ENV{VS_SR_ZIG} c++)
set(CMAKE_CXX_FLAGS_INIT "-target $ENV{VS_SR_TARGET}")
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s) # macOS

# CMake is told what it would find out by linking programs: zig compiles a C library and a C++ library for each kind of
# binary, and those for a program are minutes of work for nothing.
set(CMAKE_CXX_COMPILER_FORCED TRUE)
set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
set(CMAKE_CXX_COMPILER_ID Clang)
set(CMAKE_CXX_COMPILER_VERSION 22)
set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
set(CMAKE_CXX_STANDARD_COMPUTED_DEFAULT 17)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  set(CMAKE_EXECUTABLE_FORMAT ELF)
endif()

# Programs and headers are the building machine's; nothing of the target's is looked for.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
