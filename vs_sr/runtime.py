"""torch, loaded with threads that sleep where they wait. Modules that may be the first to need it take it from here.

It is loaded on a thread that ends with that. pybind11 notes the Python state of the thread that loads it, and that of
VapourSynth's threads, which Python does not know, is gone after each call: a later call on the same thread would wait
forever for a lock that it holds itself (seen with torch 2.11, in ``Tensor.numpy``).
"""

import sys
import threading
from importlib import import_module

from vs_sr import threads


def _load() -> None:
    """Import torch, unless it is there already; raises what that raises."""
    failures: list[BaseException] = []

    def load() -> None:
        try:
            import_module("torch")
        except BaseException as error:
            failures.append(error)

    if "torch" not in sys.modules:
        loader = threading.Thread(target=load, name="vs_sr loads torch")
        loader.start()
        loader.join()
    if failures:
        raise failures[0]


with threads.asleep():
    _load()
    import torch  # where another thread is about to load it, this waits for that

__all__ = ["torch"]
