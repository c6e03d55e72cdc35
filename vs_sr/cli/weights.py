"""Say which weights there are and get them; say what a file is, convert it, and mix two."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.cli import _hints

if TYPE_CHECKING:
    import argparse

    from vs_sr.spec import Model, Published
    from vs_sr.weights.recognition import Recognition


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``list [MODEL ...]`` and ``get NAME``; ``convert IN OUT``, ``show FILE`` and ``interpolate A B OUT --alpha X``,
    each with ``[--set key=value ...]``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "list the weights that come with vs-sr, those that others publish, and which of these are here"
    listed = actions.add_parser("list", help=summary, description=summary)
    listed.add_argument("models", metavar="MODEL", nargs="*", help="of these models alone")
    summary = "download published weights, of which `vs-sr weights list` has the names"
    get = actions.add_parser("get", help=summary, description=summary)
    get.add_argument("name", metavar="NAME", help="a file's name; or a model's, for the first of its files")
    get.add_argument("--to", metavar="FOLDER", type=Path, help="where the file goes; default: vs-sr's cache")
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
    """List, get, convert, describe or mix."""
    from vs_sr.weights import convert, interpolate

    if options.action == "list":
        return _list(options.models)
    if options.action == "get":
        return _get(options.name, options.to)
    hints = dict(options.hints)
    if options.action == "show":
        print(convert.describe(options.source, hints))
        return 0
    with _hints.named():
        if options.action == "interpolate":
            found = interpolate.interpolate(options.source, options.other, options.target, options.alpha, hints)
        else:
            found = convert.convert(options.source, options.target, hints)
    print(f"{options.target}: {_what(found)}; core.vs_sr.{found.model.name}(clip, weights=...)")
    return 0


def _what(found: Recognition) -> str:
    scale = "for an upscaled clip" if found.variant.upscaled else f"x{found.variant.scale}"
    return f"{found.model.name}, {scale}"


def _list(names: list[str]) -> int:
    """A paragraph per model that has any, and a line per file."""
    from vs_sr import registry
    from vs_sr.cli import models
    from vs_sr.weights import published, store

    folder = published.folder()
    wanted = [registry.model(name).name for name in names]
    for model in registry.models():
        if wanted and model.name not in wanted:
            continue
        shipped = [entry for entry in store.index().values() if entry.model == model.name]
        lines = [(entry.name, models.marked(entry, model).replace(entry.name, "shipped", 1)) for entry in shipped]
        lines += [(other.file, _state(other, folder)) for other in published.of(model)]
        if not lines:
            lines = [("none needed" if model.fixed else "none known", "")]
        print(f"{model.name}: {model.summary}")
        width = max(len(name) for name, _ in lines)
        for name, state in lines:
            print(f"    {name:<{width}}  {state}".rstrip())
    print(f"`vs-sr weights get NAME` downloads one to {folder}")
    return 0


def _state(other: Published, folder: Path) -> str:
    if (folder / other.file).is_file():
        return "here"
    return f"get: {other.repository}" if other.address else f"by hand: {other.repository}, {other.place}"


def _get(name: str, to: Path | None) -> int:
    """Say what is fetched from where, fetch it, and say how to use it."""
    from vs_sr import files
    from vs_sr.cli._progress import Progress
    from vs_sr.errors import ArgumentError
    from vs_sr.weights import download, published

    model, wanted = published.find(name)
    folder = published.folder() if to is None else to
    try:
        folder = files.resolve(folder)
        if wanted.address:
            folder.mkdir(parents=True, exist_ok=True)
    except ArgumentError as error:
        raise ArgumentError(f"the folder {str(folder)[:80]!r} {error}") from None
    except OSError as error:
        raise ArgumentError(f"{folder} cannot be made: {files.reason(error)}; name another with --to") from None
    target = folder / wanted.file
    if target.exists():
        print(f"{wanted.file} is there already; nothing is downloaded", file=sys.stderr)
    elif wanted.address:
        had = download.begun(wanted.address, target, wanted.checksum)
        on = f", going on after {had >> 20} MiB" if had else ""
        print(f"getting {wanted.address}{on}", file=sys.stderr)
    began = time.monotonic()
    first = None

    def report(done: int, total: int | None) -> None:
        nonlocal first
        first = done if first is None else first
        rate = (done - first) / max(time.monotonic() - began, 1e-3) / 2**20
        progress(wanted.file, done >> 20, None if total is None else total >> 20, f" MiB, {rate:.1f} MiB/s")

    with Progress() as progress:
        try:
            digest = published.get(model, wanted, target, report)
        except KeyboardInterrupt:
            if download.begun(wanted.address, target, wanted.checksum):
                print(f"\n{wanted.file}: {download.KEPT}", file=sys.stderr)
            raise
    _explain(model, wanted, target, digest)
    return 0


def _explain(model: Model, wanted: Published, path: Path, digest: str) -> None:
    """What the file is, and the lines that use it."""
    from vs_sr.weights import published

    what = _what(published.recognized(model, wanted, path))
    proof = "to compare: its publisher states none"
    if wanted.checksum:
        proof = "as published" if len(wanted.checksum) == len(digest) else "begins as published"
    print(f"{path}: {what}; sha-256 {digest} ({proof})")
    if wanted.hints:
        converted = f"{path.stem}.safetensors"
        print(wanted.conversion(converted, shlex.quote(str(path))))
        print(f"core.vs_sr.{model.name}(clip, weights={converted!r})")
    else:
        print(f"core.vs_sr.{model.name}(clip, weights={str(path)!r})")
