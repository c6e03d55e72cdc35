"""CUDA kernels on the CPU: ``cpuemu.h`` is the language, ``emulator.py`` builds and launches."""
