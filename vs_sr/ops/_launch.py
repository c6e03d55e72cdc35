"""Kernels on a GPU: which device can run them, loading, and the launch on torch's stream with torch's memory.

Nothing here allocates device memory or waits for the device, so a launch can be captured in a CUDA graph.
Loading cannot be captured: :func:`prepare` does it beforehand. Loaded modules are kept for ever, because
one that is collected would be unloaded, in the middle of somebody's capture perhaps.
"""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vs_sr.ops import _nvrtc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from vs_sr.ops._nvrtc import Kernel

_log = logging.getLogger("vs_sr")
_lock = threading.Lock()
_loaded: dict[tuple[Kernel, int], Any] = {}
_broken: dict[int, str] = {}

_DEFAULT_SHARED = 48 << 10
"""Bytes of dynamic shared memory that a kernel may have without asking the driver."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel with all it is given: what ``cuLaunchKernel`` wants, and what the tests emulate."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[object, ...]
    """One per parameter: an int is a pointer, ``np.int32`` an int, ``np.float32`` a float, a structured
    array of one element a struct. (A bare Python float would be passed as a double.)"""
    shared: int = 0
    """Bytes of dynamic shared memory."""


def pointer(tensor: Tensor | None) -> int:
    """The address of a tensor's data, 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def aligned(tensor: Tensor) -> Tensor:
    """The tensor as kernels read it: channels_last (with four dimensions), from a 16-byte boundary on."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    tensor = tensor.contiguous(memory_format=layout)
    return tensor.clone() if tensor.data_ptr() % 16 else tensor  # a view may begin anywhere


def check_device(op: str, *tensors: Tensor | None) -> None:
    """Refuse tensors of several devices: a kernel would take the address of one for memory of another.

    Raises:
        ValueError: they are.
    """
    devices = {str(tensor.device) for tensor in tensors if tensor is not None}
    if len(devices) > 1:
        raise ValueError(f"{op}: all tensors must be on one device, got {', '.join(sorted(devices))}")


def check_into(op: str, x: Tensor, out: Tensor, channel: int, size: tuple[int, int]) -> None:
    """Refuse a place for a result that is too small, or that kernels cannot write to.

    Args:
        op: for the message.
        x: (B, C, H, W), in type and channels what is written.
        out: where to.
        channel: the first one that is written.
        size: height and width of what is written.

    Raises:
        ValueError: it is.
    """
    fits = out.dim() == 4 and out.shape[0] == x.shape[0] and out.shape[2:] == size and out.dtype == x.dtype
    if not fits or channel < 0 or channel + x.shape[1] > out.shape[1]:
        raise ValueError(
            f"{op}: out must be ({x.shape[0]}, >= {channel + x.shape[1]}, {size[0]}, {size[1]}) in {x.dtype} "
            f"and channel >= 0, got {tuple(out.shape)} in {out.dtype} and {channel}"
        )
    if not out.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"{op}: out must be channels_last, got strides {out.stride()}")


def run(launch: Launch, device: torch.device) -> None:
    """Launch on torch's current stream of ``device``. The caller keeps the tensors alive, as in torch."""
    if 0 in launch.grid:  # an empty tensor
        return
    with torch.cuda.device(device):
        function = _load(launch.kernel, _index(device))
        stream = _stream(torch.cuda.current_stream(device))
        function(launch.grid, launch.block, launch.args, shared_mem=launch.shared, stream=stream)


def usable(kernel: Kernel, device: torch.device) -> bool:
    """Whether ``kernel`` runs on ``device``; where it does not, the reason is logged once per device."""
    if device.type != "cuda":
        return False
    index = _index(device)
    if index in _broken:
        return False
    reason = _obstacle(index)
    if reason is None:
        if kernel.minimum > _capability(index):
            return False
        try:
            _load(kernel, index)
        except CaptureError:
            raise
        except Exception as error:  # whatever the compiler or the driver says, torch can still do the work
            reason = f"{kernel.label}: {error}"
    if reason is not None:
        _give_up(index, reason)
    return reason is None


class CaptureError(RuntimeError):
    """A kernel would have to be loaded while a CUDA graph is captured."""


def prepare(device: torch.device, kernels: Iterable[Kernel]) -> None:
    """Compile and load ``kernels`` where the device can run them: once, before a CUDA graph is captured."""
    for kernel in kernels:
        usable(kernel, device)


def obstacle(device: torch.device) -> str | None:
    """Why the kernels do not run on ``device`` at all; None where they do."""
    if device.type != "cuda":
        return f"{device.type} has none"
    return _broken.get(_index(device)) or _obstacle(_index(device))


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """How many blocks make a wave: the device's multiprocessors."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def architecture(capability: int, supported: Iterable[int]) -> int | None:
    """What to compile for: the capability itself, or the nearest below it of the same generation.

    Machine code for X.y runs on every X.z with z >= y, and on no other generation.
    """
    fitting = [arch for arch in supported if arch // 10 == capability // 10 and arch <= capability]
    return max(fitting, default=None)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


@functools.cache
def _capability(index: int) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return major * 10 + minor


@functools.cache
def _obstacle(index: int) -> str | None:
    if torch.version.hip is not None:
        return "the kernels are CUDA, and this torch is built for ROCm"
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); pip install 'vs-sr[cuda]'"
    try:
        supported = _nvrtc.architectures()
        _nvrtc.source_folder()
    except Exception as error:
        return f"{error}"
    if _capability(index) < 75 or architecture(_capability(index), supported) is None:
        return f"NVRTC does not compile for compute capability {_capability(index) / 10}"
    return None


def _give_up(index: int, reason: str) -> None:
    with _lock:
        logged = index in _broken
        _broken[index] = reason
    if not logged:
        _log.warning("cuda:%d: no CUDA kernels, torch operators instead, which are slower: %s", index, reason)


def _load(kernel: Kernel, index: int) -> Any:
    """The function of ``kernel`` on device ``index``, which is the current one or becomes it."""
    function = _loaded.get((kernel, index))
    if function is None:
        with torch.cuda.device(index), _lock:
            function = _loaded.get((kernel, index))
            if function is None:
                if torch.cuda.is_current_stream_capturing():
                    raise CaptureError(
                        f"{kernel.label} is not loaded yet, and cannot be during a capture; "
                        "call vs_sr.ops.prepare() first"
                    )
                function = _loaded[kernel, index] = _load_now(kernel, index)
    return function


def _load_now(kernel: Kernel, index: int) -> Any:
    import cupy

    arch = architecture(_capability(index), _nvrtc.architectures())
    if arch is None:
        raise RuntimeError(f"NVRTC does not compile for compute capability {_capability(index) / 10}")
    module = cupy.RawModule(path=str(_nvrtc.cubin_file(kernel, arch)))
    function = module.get_function(kernel.name)
    if kernel.shared > _DEFAULT_SHARED:
        function.max_dynamic_shared_size_bytes = kernel.shared
    _ = function.num_regs  # loads it now: CuPy would wait for the first launch
    return function


@functools.lru_cache(maxsize=256)
def _stream_of(handle: int, stream: Any) -> Any:
    import cupy

    if hasattr(cupy.cuda.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
        return cupy.cuda.Stream.from_external(stream)
    return cupy.cuda.ExternalStream(handle)


def _stream(stream: torch.cuda.Stream) -> Any:
    return _stream_of(stream.cuda_stream, stream)
