"""Say what a weights file is, convert one to safetensors that says it itself, and mix two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.cli import _hints

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``convert IN OUT``, ``show FILE`` and ``interpolate A B OUT --alpha X``, each with ``[--set key=value ...]``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "recognize a checkpoint and write it as .safetensors, with all that a filter has to know"
    convert = actions.add_parser("convert", help=summary, description=summary)
    convert.add_argument("source", metavar="IN", type=Path, help="a .pth, .pt, .ckpt or .safetensors file")
    convert.add_argument("target", metavar="OUT", type=Path, help="the file to write, .safetensors")
    summary = "print what a weights file holds"
    show = actions.add_parser("show", help=summary, description=summary)
    show.add_argument("source", metavar="FILE", type=Path, help="a .pth, .pt, .ckpt or .safetensors file")
    summary = "write (1 - alpha) A + alpha B, of two files of one network"
    between = actions.add_parser("interpolate", help=summary, description=summary)
    between.add_argument(
        "source", metavar="A", type=Path, help="weights of any known format, such as PSNR-trained ones"
    )
    between.add_argument("other", metavar="B", type=Path, help="weights of the same network, such as GAN-trained ones")
    between.add_argument("target", metavar="OUT", type=Path, help="the file to write, .safetensors")
    between.add_argument("--alpha", type=float, default=0.5, help="0 is A, 1 is B; default: 0.5")
    for action in (convert, show, between):
        _hints.add_argument(action)


def run(options: argparse.Namespace) -> int:
    """Convert, describe or mix."""
    from vs_sr.weights import convert, interpolate

    hints = dict(options.hints)
    if options.action == "show":
        print(convert.describe(options.source, hints))
        return 0
    with _hints.named():
        if options.action == "interpolate":
            found = interpolate.interpolate(options.source, options.other, options.target, options.alpha, hints)
        else:
            found = convert.convert(options.source, options.target, hints)
    scale = "for an upscaled clip" if found.variant.upscaled else f"x{found.variant.scale}"
    print(f"{options.target}: {found.model.name}, {scale}; core.vs_sr.{found.model.name}(clip, weights=...)")
    return 0
