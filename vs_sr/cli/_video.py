"""Video files for the commands: what a file is, writing one from frames, and a script rendered into one."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vs_sr import system
from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import av
    import numpy as np
    import numpy.typing as npt
    from av.rational import AVRational

_QUALITY = {"crf": "14", "preset": "fast"}


@dataclass(frozen=True)
class Info:
    """What has to be known of a video stream."""

    width: int
    height: int
    rate: Fraction
    """Frames per second; 0 where the file does not say."""
    colour: Mapping[str, int]
    """Code points of H.273: color_primaries, color_trc, colorspace; and color_range (1 limited, 2 full)."""


def probe(path: Path) -> Info:
    """Size, rate and colour tags of a file's first video stream.

    Raises:
        VsSrError: the file cannot be read, or holds no video.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VsSrError(f"{path} holds no video")
            stream = container.streams.video[0]
            context = stream.codec_context
            tags = ("color_primaries", "color_trc", "colorspace", "color_range")
            colour = {tag: int(getattr(context, tag) or 0) for tag in tags}
            return Info(context.width, context.height, _fraction(stream.average_rate), colour)
    except (OSError, av.FFmpegError) as error:
        raise VsSrError(f"{path} cannot be read as a video: {error}") from None


def write(path: Path, frames: Sequence[npt.NDArray[np.uint8]], rate: Fraction) -> None:
    """Encode frames (H, W, 3) RGB to H.264 in 4:2:0, tagged BT.709, limited range. Sizes must be even."""
    import av

    with partial_file(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=_QUALITY)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        _tag(stream.codec_context, {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1})
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode())


def frames(path: Path, start: int = 0, stop: int | None = None) -> list[npt.NDArray[np.uint8]]:
    """Frames ``start`` to ``stop`` of a file, (H, W, 3) RGB, by decoding from its beginning."""
    import av
    import numpy as np

    with av.open(str(path)) as container:
        decoded = itertools.islice(container.decode(video=0), start, stop)
        matrix = "ITU709" if container.streams.video[0].codec_context.colorspace == 1 else "DEFAULT"
        pictures = (frame.to_ndarray(format="rgb24", src_colorspace=matrix) for frame in decoded)
        return [np.asarray(picture, dtype=np.uint8) for picture in pictures]


def render(script: Path, arguments: Mapping[str, str], path: Path, colour: Mapping[str, int]) -> None:
    """``vspipe -c y4m script - | ffmpeg -i - path``, with progress on stderr; PyAV where there is no ffmpeg.

    The y4m stream cannot say what the colours mean, so the tags are given to the encoder.

    Raises:
        VsSrError: the script or the encoder failed. The file is then not written.
    """
    program = _vspipe()
    given = [part for name, value in arguments.items() for part in ("-a", f"{name}={value}")]
    with ExitStack() as stack:
        unfinished = stack.enter_context(partial_file(path))
        source = subprocess.Popen(
            [program, "-p", "-c", "y4m", *given, script, "-"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            **system.together(),  # the program starts another one; both have to end
        )
        stack.callback(system.end, source)
        assert source.stdout is not None
        if shutil.which("ffmpeg"):
            _encode_with_ffmpeg(source.stdout, unfinished, colour)
        else:
            _encode_with_pyav(source.stdout, unfinished, colour)
        source.stdout.close()
        if source.wait() != 0:
            raise VsSrError(f"vspipe failed with exit code {source.returncode}; its message stands above")


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


def _encode_with_ffmpeg(stream: IO[bytes], path: Path, colour: Mapping[str, int]) -> None:
    options = [part for tag, value in colour.items() if value for part in (f"-{tag}", str(value))]
    options += [part for name, value in _QUALITY.items() for part in (f"-{name}", value)]
    command: list[str | Path] = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        "-",
        "-c:v",
        "libx264",
        *options,
        "-f",
        "mp4",
        "-y",
        path,
    ]
    done = subprocess.run(command, stdin=stream, check=False)
    if done.returncode:
        raise VsSrError(f"ffmpeg failed with exit code {done.returncode}; its message stands above")


def _encode_with_pyav(stream: IO[bytes], path: Path, colour: Mapping[str, int]) -> None:
    import av

    try:
        with (
            av.open(stream, "r", format="yuv4mpegpipe") as source,
            av.open(str(path), "w", format="mp4") as target,
        ):
            video = source.streams.video[0]
            encoder = target.add_stream("libx264", rate=_fraction(video.base_rate) or 25, options=_QUALITY)
            encoder.width, encoder.height = video.codec_context.width, video.codec_context.height
            encoder.pix_fmt = video.codec_context.pix_fmt
            _tag(encoder.codec_context, colour)
            for frame in source.decode(video):
                target.mux(encoder.encode(frame))
            target.mux(encoder.encode())
    except av.FFmpegError as error:
        raise VsSrError(f"the stream from vspipe cannot be encoded: {error}") from None


def _fraction(rate: AVRational | None) -> Fraction:
    return Fraction(rate.numerator, rate.denominator) if rate else Fraction(0)


def _tag(context: av.VideoCodecContext, colour: Mapping[str, int]) -> None:
    for tag, value in colour.items():
        if value:
            setattr(context, tag, value)


class partial_file:  # noqa: N801
    """A file that gets its name when it is whole: ``with partial_file(path) as unfinished``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> Path:
        return self._unfinished

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            system.replace(self._unfinished, self._path)
        else:
            self._unfinished.unlink(missing_ok=True)
