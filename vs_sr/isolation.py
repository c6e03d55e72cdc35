"""Our calls of torch, kept apart from the host's: its settings decide nothing of ours, and ours are gone afterwards.

The host is the script, every other filter in its process, and the player around them. What it may have set:

- What belongs to a thread (inference mode, autocast, a default device, whether denormals are flushed, the number
  of compute threads) cannot reach ours: networks run on threads of their own (``vs_sr.engine.session``), and
  :func:`settle` gives each what a new process has.
- What belongs to the process (the default dtype, cuDNN's and oneDNN's switches, TF32 and its like) is held at our
  values while any of our calls runs, and set back when the last one leaves, but for what the host has set in between.
  It is written only where it differs, so on the CPU a host that has set nothing is not touched. A call of the host's
  that overlaps one of ours sees our values, since torch has no others.
- Random numbers that a network is made of come from a generator of our own.
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import threads
from vs_sr.runtime import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Setting:
    """A setting of the whole process."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    ours: tuple[Any, ...]
    """What our calls need: the first is written, the others are as good."""


@dataclass
class Policy:
    """Settings that have our values while anybody is within, and the host's before and after."""

    settings: Sequence[Setting]
    _users: int = 0
    _hosts: dict[str, Any] = field(default_factory=dict)
    """What is to be set back, in the order of writing."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            for setting in self.settings:  # for each user: the host may have set something since the last one
                value = setting.read()
                if value not in setting.ours:
                    self._hosts[setting.name] = value
                    setting.write(setting.ours[0])

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            known = {setting.name: setting for setting in self.settings}
            for name in reversed(self._hosts):
                if known[name].read() in known[name].ours:  # else the host has set it since
                    known[name].write(self._hosts[name])
            self._hosts.clear()


def _switch(name: str, *values: Any) -> Setting:
    """A switch of torch by its private name: the public one can be locked (``torch.backends.disable_global_flags``)."""
    return Setting(name, getattr(torch._C, f"_get_{name}"), getattr(torch._C, f"_set_{name}"), values)


def _deterministic() -> tuple[bool, bool]:
    return torch._C._get_deterministic_algorithms(), torch._C._get_deterministic_algorithms_warn_only()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch._C._set_deterministic_algorithms(value[0], warn_only=value[1])


def _precision(backend: str, operation: str) -> Setting:
    """How exact products of float32 numbers are: in float32, not in TF32 or bfloat16."""
    get, put = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
    exact = ("ieee", "none")

    def read() -> tuple[str, bool]:
        """What holds, and whether it is (or may be) set for the whole backend."""
        value = get(backend, operation)
        return value, value not in exact and value == get(backend, "all")

    def write(value: tuple[str, bool]) -> None:
        put(backend, operation, "none" if value[1] else value[0])

    return Setting(f"{backend}.{operation}", read, write, tuple((value, False) for value in exact))


def _sdp(name: str) -> Setting:
    """Whether a kind of attention may be chosen: all of them, as in a new process."""
    cuda = torch.backends.cuda
    return Setting(f"{name}_sdp", getattr(cuda, f"{name}_sdp_enabled"), getattr(cuda, f"enable_{name}_sdp"), (True,))


def _matmul(name: str, value: Any) -> Setting:
    matmul = torch.backends.cuda.matmul
    return Setting(name, partial(getattr, matmul, name), partial(setattr, matmul, name), (value,))


def _cudnn_tf32() -> bool | None:
    """cuDNN's old switch for TF32; None where the host has used the new ones: torch lets nobody read it then."""
    try:
        return torch._C._get_cudnn_allow_tf32()
    except RuntimeError:
        return None


EVERYWHERE = Policy(
    (
        Setting("default_dtype", torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
        Setting("deterministic_algorithms", _deterministic, _set_deterministic, ((False, False), (False, True))),
        _switch("mkldnn_enabled", True),
        _switch("mkldnn_deterministic", False),
        _precision("mkldnn", "conv"),
        _precision("mkldnn", "matmul"),
        _precision("mkldnn", "rnn"),
        _switch("nnpack_enabled", True),
        _sdp("flash"),
        _sdp("math"),
    )
)
"""What counts on the CPU, and on other devices, too. Our values are those of a new process."""

CUDA = Policy(
    (
        _switch("cudnn_enabled", True),
        _switch("cudnn_benchmark", False),
        _switch("cudnn_deterministic", True),
        Setting("cudnn_allow_tf32", _cudnn_tf32, torch._C._set_cudnn_allow_tf32, (False, None)),
        _precision("cuda", "conv"),
        _precision("cuda", "rnn"),
        _precision("cuda", "matmul"),
        _matmul("allow_fp16_reduced_precision_reduction", True),
        _matmul("allow_bf16_reduced_precision_reduction", True),
        _matmul("allow_fp16_accumulation", False),
        _sdp("mem_efficient"),
        _sdp("cudnn"),
    )
)
"""What counts on a GPU alone. Deterministic and without TF32; for the rest, our values are those of a new process."""


@contextmanager
def ours(device: str) -> Iterator[None]:
    """What a network is run within, on a thread of its own.

    Args:
        device: as torch names it.
    """
    settle()
    with ExitStack() as stack:
        stack.enter_context(EVERYWHERE)
        if device != "cpu":
            stack.enter_context(CUDA)
        stack.enter_context(torch.inference_mode())
        yield


_settled = threading.local()


def settle() -> None:
    """Give the calling thread :func:`vs_sr.threads.count` compute threads, and arithmetic as the standard has it.

    Both are the thread's own affair. The number of threads decides bits, as torch convolves small images by another
    algorithm on one thread; and the speed: a filter that has set it to 1 for itself would slow us down.
    """
    if getattr(_settled, "done", False):
        return
    _settled.done = True
    torch.set_flush_denormal(False)  # inherited from the thread that has made this one
    count = threads.count()
    if torch.get_num_threads() == count:  # the first time that a thread asks, it takes the host's number
        return
    try:
        _library().omp_set_num_threads(count)
        _library().MKL_Set_Num_Threads_Local(count)
    except (OSError, AttributeError):  # another build of torch: what it has is for the whole process
        torch.set_num_threads(count)


@cache
def _library() -> ctypes.CDLL:
    """torch's own copy of OpenMP and MKL: these know numbers of threads that belong to one thread, torch does not."""
    return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))


_DRAWS = {
    *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.randint_like),
    *(torch.bernoulli, torch.multinomial, torch.normal, torch.poisson),
    *(torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.random_, torch.Tensor.bernoulli_),
    *(torch.Tensor.exponential_, torch.Tensor.geometric_, torch.Tensor.cauchy_, torch.Tensor.log_normal_),
    *(torch.Tensor.bernoulli, torch.Tensor.multinomial),
}
"""Functions that take a generator, beside those of ``torch.nn.init``."""


class OwnRandomNumbers(torch.overrides.TorchFunctionMode):
    """Within it, this thread draws from a generator of its own, the same numbers each time; the host's stands still.

    A mode of functions: one of operators (``TorchDispatchMode``) would import torch's compiler.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if given.get("generator") is None and (func in _DRAWS or _initializes(func)):
            tensors = (value for value in (*args, *given.values()) if isinstance(value, torch.Tensor))
            device = next((tensor.device for tensor in tensors), given.get("device"))
            given["generator"] = self._generator(torch.device(device or "cpu"))
        return func(*args, **given)

    def _generator(self, device: torch.device) -> torch.Generator | None:
        if device.type == "meta":  # no numbers, so none are drawn
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(0)
        return self._generators[device]


def _initializes(function: Any) -> bool:
    """Whether it is a function of ``torch.nn.init`` that draws."""
    return getattr(function, "__module__", None) == "torch.nn.init" and "generator" in signature(function).parameters
