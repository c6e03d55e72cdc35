"""Images and clips measured by a protocol: a row of figures per frame, and for clips how they move."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vs_sr.errors import ArgumentError
from vs_sr.evaluation import coding, metrics, protocols
from vs_sr.evaluation.resample import round_half_up

if TYPE_CHECKING:
    import numpy.typing as npt

    from vs_sr.evaluation.protocols import Protocol
    from vs_sr.evaluation.upscalers import Upscaler

    Frame = npt.NDArray[np.uint8]
    Image = npt.NDArray[np.generic]
    Float64 = npt.NDArray[np.float64]

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".ppm")
"""Of images that are read: lossless ones."""

type Progress = Callable[[str, int, int], None]
"""Called with a label, images done and images in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One output image against its ground truth."""

    frame: str
    """Name of the ground truth's file."""
    interpolated: bool
    """Its time was not among the inputs."""
    psnr_rgb: float
    """dB over all channels; inf where nothing differs."""
    psnr_y: float
    """dB on Y."""
    ssim_rgb: float
    """Mean of the channels' SSIM, -1..1."""
    ssim_y: float
    """SSIM on Y, -1..1."""
    change_error: float | None = None
    """As in :class:`Temporal`, since the frame before; None for the first, and for images that are no clip."""


FIGURES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal:
    """How a clip moves, next to its ground truth; on Y."""

    change_error: float
    """Mean of ``abs((O[t+1] - O[t]) - (T[t+1] - T[t]))`` over pixels and frames, in code values: 0 where output O
    moves as target T does; flicker and frozen texture raise it."""
    sharpness: float
    """Mean over input-time frames of sharpness(O) / sharpness(T), where sharpness is the mean length of
    the gradient: 1 is the target's, below 1 softer."""
    sharpness_interpolated: float | None
    """The same over interpolated frames; None without any."""

    @property
    def pulse(self) -> float | None:
        """Sharpness of input-time frames minus that of interpolated ones: what is seen as pulsing."""
        return None if self.sharpness_interpolated is None else self.sharpness - self.sharpness_interpolated


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The same part of an image from everyone, for the eye."""

    frame: str
    parts: tuple[tuple[str, Frame], ...]
    """(label, (h, w, 3)), the ground truth first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The figures of a folder."""

    name: str
    scores: dict[str, tuple[Score, ...]]
    """By upscaler, the one that is measured first."""
    temporal: dict[str, Temporal] = field(default_factory=dict)
    """By upscaler; empty for images that are no clip."""
    samples: tuple[Sample, ...] = ()

    def mean(self, upscaler: str, figure: str, *, interpolated: bool | None = None) -> float:
        """Mean of a figure over the images, as papers take it; over those at one kind of time where asked.

        nan where there are none.
        """
        chosen = [
            value
            for score in self.scores[upscaler]
            if interpolated is None or score.interpolated == interpolated
            if (value := getattr(score, figure)) is not None
        ]
        return float(np.mean(chosen)) if chosen else math.nan


def folders(path: Path) -> list[Path]:
    """The folders of images that a folder stands for: itself, or, where it holds none, those in it that do.

    Raises:
        ArgumentError: no such folder, or no images in it.
    """
    if path.is_file():
        raise ArgumentError(
            f"{path} is a file; ground truth is a folder of images, such as "
            f"`ffmpeg -i {shlex.quote(str(path))} frames/%04d.png` makes of a video"
        )
    if not path.is_dir():
        raise ArgumentError(f"there is no folder {path}")
    if _images(path):
        return [path]
    inner = sorted(each for each in path.iterdir() if each.is_dir() and _images(each))
    if not inner:
        raise ArgumentError(f"{path} holds no images ({', '.join(SUFFIXES)}), nor folders of images")
    return inner


def looks_like_a_clip(folder: Path) -> bool:
    """Whether images are frames: at least three, numbered without a gap, of one size."""
    paths = images(folder)
    parts = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    names = {part[1] for part in parts if part}
    numbers = [int(part[2]) for part in parts if part]
    numbered = len(names) == 1 and sorted(numbers) == list(range(min(numbers), min(numbers) + len(paths)))
    return len(paths) >= 3 and numbered and len({read(path).shape for path in paths}) == 1


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names.

    Raises:
        ArgumentError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise ArgumentError(f"there is no folder {folder}")
    found = _images(folder)
    if not found:
        raise ArgumentError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return found


def read(path: Path) -> Frame:
    """An image as (H, W, 3) uint8 RGB.

    Raises:
        ArgumentError: it cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except (OSError, av.FFmpegError, StopIteration, IndexError) as error:
        raise ArgumentError(f"{path} cannot be read as an image: {error or 'it is empty'}") from None


def ground_truth(frames: Iterable[Frame], scale: int, protocol: Protocol, name: str) -> list[Frame]:
    """The frames of a clip, brought to a size that is a multiple of ``scale``.

    Raises:
        ArgumentError: they are too small, or differ in size; ``name`` is the clip's in messages.
    """
    truth = [protocols.ground_truth(frame, scale, protocol) for frame in frames]
    if len({image.shape for image in truth}) > 1:
        sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in truth})
        raise ArgumentError(f"the frames of {name} must have one size; got {', '.join(sizes)}")
    return truth


def figures(
    output: tuple[Image, Float64],
    target: tuple[Image, Float64],
    name: str,
    *,
    border: int = 0,
    ssim_border: int = 0,
    padding: metrics.Padding = "valid",
) -> dict[str, float]:
    """``FIGURES`` of an image, RGB (H, W, 3) and Y (H, W) in 0..255, against its ground truth.

    Raises:
        ArgumentError: they differ in size, or are too small for SSIM; ``name`` is the image's in messages.
    """
    (rgb, y), (target_rgb, target_y) = output, target
    try:
        return {
            "psnr_rgb": metrics.psnr(rgb, target_rgb, border=border),
            "psnr_y": metrics.psnr(y, target_y, border=border),
            "ssim_rgb": metrics.ssim_rgb(rgb, target_rgb, border=ssim_border, padding=padding),
            "ssim_y": metrics.ssim(y, target_y, border=ssim_border, padding=padding),
        }
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from None


class Motion:
    """Gathers what :class:`Temporal` says, frame by frame."""

    def __init__(self) -> None:
        self._last: tuple[Float64, Float64] | None = None
        self._changes: list[float] = []
        self._ratios: dict[bool, list[float]] = {False: [], True: []}

    def add(self, y: Float64, truth: Float64, *, interpolated: bool = False) -> float | None:
        """The next frame, and that of the target, (H, W) in code values; its change error, None for the first."""
        change = None
        if self._last is not None:
            change = float(np.mean(np.abs((y - self._last[0]) - (truth - self._last[1]))))
            self._changes.append(change)
        self._last = (y, truth)
        self._ratios[interpolated].append(metrics.sharpness(y) / max(metrics.sharpness(truth), 1e-6))
        return change

    def result(self) -> Temporal | None:
        """None for a single frame."""
        if not self._changes:
            return None
        interpolated = self._ratios[True]
        return Temporal(
            change_error=float(np.mean(self._changes)),
            sharpness=float(np.mean(self._ratios[False])),
            sharpness_interpolated=float(np.mean(interpolated)) if interpolated else None,
        )


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured, and how: ``folder(path)`` takes images from files, ``clip(name, frames)`` frames at hand."""

    upscaler: Upscaler
    protocol: Protocol
    baseline: Upscaler | None = None
    """Measured beside it on the same images."""
    video: bool = False
    """The folder is a clip, in the order of the names; else its images have nothing to do with each other."""
    still: bool = False
    """A clip's first frame stands for all of them: whatever changes then is the upscaler's doing."""
    only: Literal["all", "center"] = "all"
    """Which output frames of a clip are scored."""
    crop: tuple[int, int, int, int] | None = None
    """(x, y, width, height) of samples; None: where the ground truth has most detail."""

    def folder(self, folder: Path, lr: Path | None = None, progress: Progress | None = None) -> Clip:
        """Measure the images of a folder.

        Args:
            folder: ground truth.
            lr: LR images in the same order, where the benchmark has its own; else they are made of ground truth.
            progress: is called as images are done.

        Raises:
            ArgumentError: images that cannot be read, are too small, or differ where they must not.
        """
        targets = images(folder)
        names = [path.name for path in targets]
        if progress:
            progress(folder.name, 0, len(targets))
        lows = images(lr) if lr is not None else None
        if lows is not None and len(lows) not in (len(targets), self._inputs(len(targets))):
            raise ArgumentError(f"{lr} holds {len(lows)} images, but {folder} holds {len(targets)}")
        if self.video:
            given = [read(path) for path in lows] if lows else None
            return self.clip(folder.name, [read(path) for path in targets], given, names, progress)
        scores: dict[str, list[Score]] = {}
        samples: list[Sample] = []
        for number, target in enumerate(targets):
            low = [read(lows[number])] if lows else None
            one = self.clip(folder.name, [read(target)], low, [names[number]])
            for label, rows in one.scores.items():
                scores.setdefault(label, []).extend(rows)
            samples += one.samples
            if progress:
                progress(folder.name, number + 1, len(targets))
        return Clip(
            name=folder.name, scores={label: tuple(rows) for label, rows in scores.items()}, samples=tuple(samples)
        )

    def _inputs(self, count: int) -> int:
        return (count + self.upscaler.multi - 1) // self.upscaler.multi

    def clip(
        self,
        name: str,
        frames: Sequence[Frame],
        lows: Sequence[Image] | None = None,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Clip:
        """Measure a clip, or a single image.

        Args:
            name: of the clip.
            frames: ground truth, (H, W, 3) uint8 RGB; frames at the end that no input follows are left out.
            lows: LR frames, of all or of the inputs alone; None: made of ground truth.
            names: of the frames; None: their numbers.
            progress: is called as frames are done.

        Raises:
            ArgumentError: frames that are too few, too small, or of different sizes.
        """
        scale, multi, protocol = self.upscaler.scale, self.upscaler.multi, self.protocol
        count = len(frames) - (len(frames) - 1) % multi  # an interpolated frame has an input on either side
        if count < 2 and multi > 1:
            raise ArgumentError(
                f"{name} has {len(frames)} frames; with interpolated ones it takes at least {multi + 1}"
            )
        shown = [frames[0]] * count if self.still else frames[:count]
        truth = ground_truth(shown, scale, protocol, name)
        if lows is None:
            lows = [protocols.reduce(image, scale, protocol) for image in truth[::multi]]
            if protocol.crf is not None:
                lows = list(coding.coded(round_half_up(np.stack(lows)), "h264", protocol.crf))
        else:
            lows = lows[:count:multi] if len(lows) >= count else lows[: self._inputs(count)]
            (height, width), wanted = lows[0].shape[:2], tuple(side // scale for side in truth[0].shape[:2])
            if (height, width) != wanted:
                raise ArgumentError(
                    f"LR images for {name} must be {wanted[1]}x{wanted[0]} at x{scale}; got {width}x{height}"
                )
        everyone = [each for each in (self.upscaler, self.baseline) if each is not None]
        scores: dict[str, list[Score]] = {each.label: [] for each in everyone}
        motion = {each.label: Motion() for each in everyone}
        samples: list[Sample] = []
        # a frame at a time from everyone; as many as the first gives
        for index, outputs in enumerate(zip(*(each(lows, protocol) for each in everyone), strict=False)):
            if progress:
                progress(name, index + 1, count)
            frame, interpolated = names[index] if names else str(index), index % multi != 0
            target, target_y = truth[index], self._rounded(protocol.luma(truth[index]))
            parts = []
            for each, output in zip(everyone, outputs, strict=True):
                rgb = protocols.code_values(output.rgb, protocol)
                y = self._rounded(protocol.luma(rgb) if output.y is None else output.y)
                change = None
                if self.video:
                    change = motion[each.label].add(self._inside(y), self._inside(target_y), interpolated=interpolated)
                if self.only == "all" or index == count // 2:
                    found = self._figures(frame, (rgb, y), (target, target_y))
                    scores[each.label].append(
                        Score(frame=frame, interpolated=interpolated, change_error=change, **found)
                    )
                parts.append((each.label, np.rint(output.rgb.astype(np.float64).clip(0, 255)).astype(np.uint8)))
            if index == self._shown(count):
                samples.append(self._sample(frame, target, parts))
        moved = {each: gathered.result() for each, gathered in motion.items()}
        return Clip(
            name=name,
            scores={label: tuple(rows) for label, rows in scores.items()},
            temporal={each: temporal for each, temporal in moved.items() if temporal is not None},
            samples=tuple(samples),
        )

    def _figures(self, frame: str, output: tuple[Image, Float64], target: tuple[Image, Float64]) -> dict[str, float]:
        protocol, scale = self.protocol, self.upscaler.scale
        return figures(
            output,
            target,
            frame,
            border=protocol.border.at(scale),
            ssim_border=(protocol.ssim_border or protocol.border).at(scale),
            padding=protocol.ssim_padding,
        )

    def _rounded(self, y: Float64) -> Float64:
        return np.floor(y + 0.5) if self.protocol.round_y else y

    def _inside(self, plane: Float64) -> Float64:
        border = self.protocol.border.at(self.upscaler.scale)
        return plane[border : plane.shape[0] - border, border : plane.shape[1] - border]

    def _shown(self, count: int) -> int:
        """The frame that samples are taken from: in the middle, an interpolated one where there are any."""
        middle = count // 2
        return middle | 1 if self.upscaler.multi > 1 and count > 1 else middle

    def _sample(self, frame: str, truth: Frame, parts: Sequence[tuple[str, Frame]]) -> Sample:
        height, width = truth.shape[:2]
        x, y, w, h = self.crop or detailed_part(self.protocol.luma(truth))
        if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
            raise ArgumentError(f"crop {x},{y},{w},{h} is not inside {frame} of {width}x{height}")
        window = (slice(y, y + h), slice(x, x + w))
        everyone = [("ground truth", truth), *parts]
        return Sample(frame=frame, parts=tuple((label, image[window].copy()) for label, image in everyone))


def detailed_part(y: Float64, width: int = 128, height: int = 96) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the part of a plane with the most detail: the largest sum of gradients."""
    height, width = min(height, y.shape[0]), min(width, y.shape[1])
    detail = np.zeros((y.shape[0] + 1, y.shape[1] + 1))
    detail[1:-1, 1:-1] = np.hypot(y[1:, :-1] - y[:-1, :-1], y[:-1, 1:] - y[:-1, :-1])
    sums = detail.cumsum(0).cumsum(1)
    boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(np.argmax(boxes), boxes.shape)
    return int(left), int(top), width, height
