"""Video files for the demo: writing one from frames, and a script rendered into one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from vs_sr import files, settings, system
from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

_QUALITY = {"crf": "14", "preset": "fast"}
_CLOCK = Fraction(90_000)
"""Ticks per second of frames at times of their own."""
_LARGEST = 30_000
"""Of the numbers of an aspect ratio, which H.264 keeps in 16 bits."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a stream of frames does not say itself, and the file is to say: y4m has none of it."""

    color: Mapping[str, int] = field(default_factory=dict)
    """As in :class:`vs_sr.render.reading.Film`."""
    sar: Fraction = Fraction(1)
    """Width of a pixel divided by its height."""
    times: Sequence[Fraction] | None = None
    """Seconds at which each frame begins; None: at the rate that the stream names."""


def write(path: Path, frames: Sequence[npt.NDArray[np.uint8]], rate: Fraction) -> None:
    """Encode frames (H, W, 3) RGB to H.264 in 4:2:0, tagged BT.709, limited range. Sizes must be even."""
    import av

    from vs_sr.render.encoding import tag

    with files.replacing(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=_QUALITY)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        tag(stream.codec_context, {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1})
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode())


def frames(path: Path) -> list[npt.NDArray[np.uint8]]:
    """The frames of a file, (H, W, 3) RGB."""
    import av
    import numpy as np

    with av.open(str(path.resolve())) as container:
        matrix = "ITU709" if container.streams.video[0].codec_context.colorspace == 1 else "DEFAULT"
        images = (frame.to_ndarray(format="rgb24", src_colorspace=matrix) for frame in container.decode(video=0))
        return [np.asarray(image, dtype=np.uint8) for image in images]


def render(script: Path, arguments: Mapping[str, str], path: Path, look: Look) -> None:
    """``vspipe -c y4m script -``, encoded to H.264 in ``path``, with progress on stderr.

    Raises:
        VsSrError: the script or the encoder failed. The file is then not written.
    """
    import av

    program = _vspipe()
    given = [part for name, value in arguments.items() for part in ("-a", f"{name}={value}")]
    with ExitStack() as stack:
        file = stack.enter_context(files.replacing(path))
        # Not on this thread: an interruption would be lost while PyAV reads. It ends with the stream, that with vspipe.
        encoder = stack.enter_context(ThreadPoolExecutor(1))
        source = subprocess.Popen(
            [program, "-p", "-c", "y4m", *given, script, "-"],
            stdout=subprocess.PIPE,
            env=settings.with_programs(program.parent),
            **system.together(),  # the program starts another one; both have to end
        )
        stack.callback(system.end, source)
        assert source.stdout is not None
        failure: Exception | None = None
        try:
            encoder.submit(_encode, source.stdout, file, look).result()
        except (av.InvalidDataError, EOFError) as error:  # of a stream that ends too soon
            failure = error
        except (OSError, av.FFmpegError) as error:
            raise VsSrError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
        source.stdout.close()
        if source.wait() != 0:
            raise VsSrError(f"vspipe failed with exit code {source.returncode}; its message stands above")
        if failure is not None:
            raise VsSrError(f"the stream from vspipe cannot be encoded: {failure}")


def _vspipe() -> Path:
    """The program of this Python's VapourSynth: beside the interpreter, or on Windows in a folder of its own.

    Raises:
        VsSrError: it is not there.
    """
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    found = shutil.which("vspipe", path=os.pathsep.join(folders))
    if found is None:
        raise VsSrError(f"there is no vspipe in {' or '.join(folders)}: pip install --force-reinstall vapoursynth")
    return Path(found)


def _encode(stream: IO[bytes], file: BinaryIO, look: Look) -> None:
    import av

    from vs_sr.render.encoding import tag
    from vs_sr.render.reading import fraction

    with ExitStack() as stack:
        try:
            source = stack.enter_context(av.open(stream, "r", format="yuv4mpegpipe"))
        except av.FFmpegError as error:
            raise EOFError(str(error)) from None
        video = source.streams.video[0]
        target = stack.enter_context(av.open(file, "w", format="mp4"))
        encoder = target.add_stream("libx264", rate=fraction(video.base_rate) or 25, options=_QUALITY)
        encoder.width, encoder.height = video.codec_context.width, video.codec_context.height
        encoder.pix_fmt = video.codec_context.pix_fmt
        encoder.codec_context.sample_aspect_ratio = look.sar.limit_denominator(_LARGEST)
        if look.times is not None:
            encoder.time_base = encoder.codec_context.time_base = 1 / _CLOCK
        tag(encoder.codec_context, look.color)
        for number, frame in enumerate(source.decode(video)):
            if look.times is not None:
                frame.time_base, frame.pts = 1 / _CLOCK, round(look.times[number] * _CLOCK)
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode())
