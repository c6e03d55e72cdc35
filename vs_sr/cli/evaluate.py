"""Measure what a filter's network gives, or bicubic, against ground truth: PSNR, SSIM, how a clip moves."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vs_sr.cli import _hints, _targets
from vs_sr.errors import ArgumentError
from vs_sr.windows import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vs_sr.arguments import Arguments
    from vs_sr.evaluation.measure import Clip
    from vs_sr.evaluation.protocols import Protocol
    from vs_sr.evaluation.upscalers import Upscaler
    from vs_sr.spec import Model, Variant
    from vs_sr.weights.store import Source

    type Found = tuple[Model, Variant, Source | None]

_CLIPS = 4
"""Generated clips: a few minutes' work for two CPU cores."""
_OF_DRIFT = (
    *("folder", "model", "weights", "hints", "device_id", "precision", "backend", "multi", "window"),
    *("drift", "clips", "csv", "json", "plot"),
)
"""What has a meaning there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, on what, by which protocol, and where the figures go."""
    parser.add_argument(
        "folder",
        nargs="*",
        type=Path,
        help="ground truth: a folder of images, or of a clip's frames, or of such folders",
    )
    parser.add_argument("--list-protocols", action="store_true", help="say what each protocol and rule is, and stop")
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--model",
        metavar="NAME",
        help="a model of `vs-sr models`; default: the weights' own; without weights ZoomingSlowMo",
    )
    what.add_argument("--weights", metavar="W", help="a shipped name or a file; default: the model's own")
    _hints.add_argument(what)
    what.add_argument("--bicubic", action="store_true", help="measure bicubic alone")
    what.add_argument("--no-baseline", action="store_true", help="do not measure bicubic beside the network")
    what.add_argument("--scale", type=int, help="factor; needed for bicubic and for networks on upscaled images")
    what.add_argument("--device-id", type=int, help="number of a GPU, -1 the CPU; default: the first GPU, else the CPU")
    what.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto", help="as of the filter")
    what.add_argument("--backend", default="auto", metavar="NAME", help="as of the filter; `vs-sr doctor` lists them")
    what.add_argument("--lr", action="append", type=Path, default=[], metavar="FOLDER", help="LR images, if given")

    how = parser.add_argument_group("protocol", "--protocol sets all of these; the others change one of them")
    how.add_argument(
        "--protocol", metavar="NAME", help="one of --list-protocols; default: vid4 for clips, else matlab-uint8"
    )
    how.add_argument("--resize", metavar="RULE", help="how LR is made and upscaled; see --list-protocols")
    how.add_argument("--ground-truth", choices=("crop", "resize"), help="how it comes to a multiple of the scale")
    how.add_argument("--cumulative-modcrop", action=argparse.BooleanOptionalAction, help="multiples of 2, 3, ... scale")
    how.add_argument("--border", metavar="N", help="pixels left out on each side: a number, scale, or scale+N")
    how.add_argument("--ssim-border", metavar="N", help="the same for SSIM alone")
    how.add_argument("--ssim-padding", choices=("valid", "zero"), help="zero: as pytorch_ssim")
    how.add_argument("--y", metavar="NAME", help="the constants of Y; see --list-protocols")
    how.add_argument("--round-y", action=argparse.BooleanOptionalAction, help="round Y to integers before PSNR")
    how.add_argument("--crf", type=int, metavar="N", help="the LR clip goes through 4:2:0 and H.264 of this CRF")
    how.add_argument("--output", choices=("round", "truncate", "none"), help="how RGB becomes code values")
    how.add_argument(
        "--chop", type=int, nargs="?", const=10, metavar="N", help="four quarters, N (10) pixels of overlap"
    )
    how.add_argument(
        "--ensemble", choices=("none", "flips", "all"), default="none", help="mean over 4 or 8 turned inputs"
    )

    clip = parser.add_argument_group("clips", "the defaults are the filter's")
    clip.add_argument(
        "--video",
        action=argparse.BooleanOptionalAction,
        help="folders are clips, or are not; default: yes for models of several frames that are named; where none is, "
        "what is in the folders says so: images of one size, numbered without a gap",
    )
    clip.add_argument("--still", action="store_true", help="a clip's first frame is repeated; what changes is flicker")
    clip.add_argument("--multi", type=int, help="frame-rate factor: of 2, every second frame is given; all are scored")
    clip.add_argument("--window", type=int, help="input frames per run; 0 the whole clip; default: the model's")
    clip.add_argument("--shared", type=int, default=1, help="input frames that windows share; default 1")
    clip.add_argument(
        "--keep",
        choices=("first", "later"),
        default="later",
        help="whose result of a shared frame counts; default: later",
    )
    clip.add_argument("--tail", choices=("short", "drop"), default="short", help="frames after the last whole window")
    clip.add_argument("--ends", choices=ENDS, help="for multi-frame models (EDVR); default: as the weights say")
    clip.add_argument("--mirrored", action="store_true", help="run on the clip and its reverse, take the mean")
    clip.add_argument("--frames", choices=("all", "center"), default="all", help="which frames are scored")

    drift = parser.add_argument_group("drift")
    drift.add_argument(
        "--drift",
        action="store_true",
        help="PSNR against frames since the last reset: windows, carried states and lookahead, and which to use; on "
        "generated clips and on the folders (clips of one scene)",
    )
    drift.add_argument("--clips", type=int, help=f"generated clips; default {_CLIPS}, 0 for the folders alone")

    out = parser.add_argument_group("results")
    out.add_argument("--csv", type=Path, metavar="FILE", help="a line per image")
    out.add_argument("--json", type=Path, metavar="FILE", help="everything, with the protocol")
    out.add_argument("--figure", type=Path, metavar="FILE", help="crops side by side as an image (needs pillow)")
    out.add_argument("--crop", metavar="X,Y,W,H", help="of --figure; default: where the ground truth has most detail")
    out.add_argument("--plot", type=Path, metavar="FILE", help="PSNR-Y over the frames as an image (needs pillow)")


def run(options: argparse.Namespace) -> int:
    """Print the table, write the files that were asked for."""
    if options.list_protocols:
        print(_protocols())
        return 0
    if options.drift:
        return _drift(options)
    if options.clips is not None:
        raise ArgumentError("--clips is for --drift")
    if not options.folder:
        raise ArgumentError("give a folder of ground truth; --list-protocols says what protocols there are")
    from vs_sr.cli._progress import Progress
    from vs_sr.evaluation import figure, measure, report
    from vs_sr.evaluation.measure import Measurement

    _check(options)
    folders = [inner for folder in options.folder for inner in measure.folders(folder)]
    if options.lr and len(options.lr) != len(folders):
        raise ArgumentError(f"--lr is given {len(options.lr)} times for {len(folders)} folders")
    found = None if options.bicubic else _found(options.model, options)
    video = _video(options, folders, found)
    if options.still and not video:
        raise ArgumentError("--still is about clips; say --video where the folders are some")
    upscaler, baseline = _upscalers(options, found, video)
    protocol = _protocol(options, video)
    measurement = Measurement(
        upscaler=upscaler,
        protocol=protocol,
        baseline=baseline,
        video=video,
        still=options.still,
        only=options.frames,
        crop=_crop(options.crop),
    )
    clips: list[Clip] = []
    with Progress() as progress:
        for folder, lr in zip(folders, options.lr or [None] * len(folders), strict=True):
            clips.append(measurement.folder(folder, lr, progress))
    print(_heading(upscaler, video, options.protocol or _usual(video)), end="\n\n")
    print(report.table(clips))
    if options.csv:
        report.write_csv(options.csv, clips)
    if options.json:
        report.write_json(options.json, report.record(clips, protocol, upscaler.describe()))
    if options.figure:
        figure.crops(clips, options.figure)
    if options.plot:
        figure.plot(clips, options.plot)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse before anything is computed what would fail at the end."""
    from vs_sr.evaluation import pillow

    if options.scale is not None and not 1 <= options.scale <= 16:
        raise ArgumentError(f"--scale {options.scale} is out of range; 1 to 16")
    if options.crf is not None and options.lr:
        raise ArgumentError("--crf codes the LR that is made of ground truth; leave it out where --lr gives LR")
    for name in ("window", "shared", "chop"):
        value = getattr(options, name)
        if value is not None and value < 0:
            raise ArgumentError(f"--{name} {value} is out of range; 0 or more")
    _targets.check(options, "csv", "json", "figure", "plot")
    if options.figure or options.plot:
        pillow.require("--figure and --plot")


def _drift(options: argparse.Namespace) -> int:
    """The same for ``--drift``."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for action in parser._actions:
        if action.dest not in _OF_DRIFT and getattr(options, action.dest, action.default) != action.default:
            raise ArgumentError(f"{action.option_strings[0]} has no meaning with --drift")
    clips = _CLIPS if options.clips is None else options.clips
    if clips < 0 or (clips == 0 and not options.folder):
        raise ArgumentError(f"--clips {clips} is out of range; 1 or more, 0 beside folders")
    if options.window is not None and not 2 <= options.window <= 64:
        raise ArgumentError(f"--window {options.window} is out of range; 2 to 64 with --drift")
    _check(options)
    from vs_sr import registry, windows
    from vs_sr.cli._progress import Progress
    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.evaluation import drift, figure, measure, protocols, report
    from vs_sr.weights import store

    choices = [model.name for model in registry.models() if model.kind == "sequence"]
    model, variant, source = _found(options.model, options)
    if model.name not in choices:
        raise ArgumentError(f"--drift is for filters of sequences, not {model.name}; choices: {', '.join(choices)}")
    multi = options.multi or model.multi[0]
    if multi not in model.multi:
        raise ArgumentError(f"{model.name} cannot do --multi {multi}; choices: {', '.join(map(str, model.multi))}")
    grid = windows.grid(model, model.window, window=options.window, multi=multi)
    pipeline = Pipeline(model=model, variant=variant, source=source, size=(1, 1), grid=grid, options=_wishes(options))
    scale, protocol = variant.scale, protocols.preset(drift.PROTOCOL)
    folders = [
        (folder.name, measure.ground_truth(map(measure.read, measure.images(folder)), scale, protocol, folder.name))
        for folder in options.folder
    ]
    sets: list[drift.Drift] = []
    with Progress() as progress:
        for title, found in (("generated", [drift.generated(number) for number in range(clips)]), ("footage", folders)):
            if found:
                sets.append(drift.measure(title, found, pipeline, progress))
    print(report.drift_table(sets))
    if options.csv:
        report.write_drift_csv(options.csv, sets)
    if options.json:
        facts = {"upscaler": model.name, **sets[0].facts}
        if source is not None:
            facts |= {"weights": source.path.name, "sha256": store.digest(source)}
        report.write_json(options.json, report.drift_record(sets, facts))
    if options.plot:
        figure.drift(sets, options.plot)
    return 0


def _video(options: argparse.Namespace, folders: Sequence[Path], found: Found | None) -> bool:
    """Whether the folders are clips."""
    from vs_sr.evaluation import measure

    if options.video is not None:
        return bool(options.video)
    if found is None:
        return options.multi not in (None, 1)
    if options.model or options.weights or options.multi:
        return found[0].kind != "image"
    clips = [measure.looks_like_a_clip(folder) for folder in folders]
    if len(set(clips)) > 1:
        clip, images = folders[clips.index(True)], folders[clips.index(False)]
        raise ArgumentError(
            f"{clip} looks like the frames of a clip, {images} like images that have nothing to do with each other; "
            "measure them one after the other, or say with --video or --no-video what both are"
        )
    return clips[0]


def _upscalers(options: argparse.Namespace, found: Found | None, video: bool) -> tuple[Upscaler, Upscaler | None]:
    """What is measured, and bicubic beside it."""
    from vs_sr.evaluation import upscalers

    if found is None:
        if options.model or options.weights:
            raise ArgumentError("--bicubic is measured beside a network anyway; give one or the other")
        multi = options.multi or 1
        if multi < 1:
            raise ArgumentError(f"--multi {multi} is no factor; 1 or more")
        return upscalers.Bicubic(_scale(options), multi), None
    model, variant, source = found
    scale = _scale(options) if variant.upscaled else options.scale or variant.scale
    network = upscalers.Network(
        model,
        variant,
        source,
        scale=scale,
        multi=options.multi or (model.multi[0] if video else 1),
        options=_wishes(options),
        running=upscalers.Running(
            window=options.window,
            shared=options.shared,
            keep=options.keep,
            tail=options.tail,
            ends=options.ends,
            mirrored=options.mirrored,
            chop=options.chop,
            ensemble=options.ensemble,
        ),
    )
    return network, None if options.no_baseline else upscalers.Bicubic(scale, network.multi)


def _wishes(options: argparse.Namespace) -> Arguments:
    from vs_sr.arguments import Arguments

    return Arguments(device_id=options.device_id, precision=options.precision, backend=options.backend)


def _heading(upscaler: Upscaler, video: bool, protocol: str) -> str:
    """What was measured, and how, in a line."""
    facts = upscaler.describe()
    what = f"{upscaler.label} ({Path(facts['weights']).stem})" if facts.get("weights") else upscaler.label
    how = f"x{upscaler.scale}"
    if upscaler.multi > 1:
        how += f", every {_ordinal(upscaler.multi)} frame given"
    if "device" in facts:
        how += f", on {facts['device']} in {facts['precision']}"
    return f"{what}: {how}; {'clips' if video else 'images'} by the protocol {protocol}"


def _ordinal(multi: int) -> str:
    return {2: "second", 4: "fourth", 8: "eighth"}.get(multi, f"{multi}th")


def _found(name: str | None, options: argparse.Namespace) -> Found:
    from vs_sr.evaluation import upscalers

    with _hints.named():
        return upscalers.find(name, options.weights, dict(options.hints), options.scale)


def _scale(options: argparse.Namespace) -> int:
    if options.scale is None:
        raise ArgumentError("--scale is needed: nothing else says the factor of upscaling")
    return cast("int", options.scale)


def _protocol(options: argparse.Namespace, video: bool) -> Protocol:
    """The named protocol, with what the other flags say."""
    from vs_sr.evaluation import protocols

    names = ("resize", "ground_truth", "cumulative_modcrop", "ssim_padding", "y", "round_y", "output", "crf")
    changes: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for name in ("border", "ssim_border"):
        if getattr(options, name) is not None:
            changes[name] = protocols.Border.parse(getattr(options, name))
    return replace(protocols.preset(options.protocol or _usual(video)), **changes)


def _usual(video: bool) -> str:
    """The protocol where none is named."""
    return "vid4" if video else "matlab-uint8"


def _crop(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(f"--crop {text!r} must be X,Y,WIDTH,HEIGHT in pixels") from None
    return x, y, width, height


def _protocols() -> str:
    from vs_sr.evaluation import protocols, resample

    lines = ["protocols"]
    lines += [f"  {name:14} {summary}" for name, (summary, _) in protocols.PRESETS.items()]
    lines += ["", "--resize", *(f"  {name:14} {summary}" for name, summary in resample.SUMMARY.items())]
    lines += ["", "--y", *(f"  {name:14} {luma.summary}" for name, luma in protocols.LUMAS.items())]
    return "\n".join(lines)
