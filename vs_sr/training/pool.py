"""The pool of a run: its clips, made once in parallel processes and kept in files that training maps into memory.

A file is named for all that decides what is in it, and appears whole or not at all: a resumed run makes nothing twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from vs_sr import files, system
from vs_sr.errors import ArgumentError
from vs_sr.training import images, packed, video
from vs_sr.training.clips import HELD_OUT_SEED, Clips, make_clip, reduce_frames
from vs_sr.training.degrade import Chain

if TYPE_CHECKING:
    from pathlib import Path

    from vs_sr.evaluation.resample import Rule
    from vs_sr.training.recipe import Data, Images, Place, Scenes, Video

Frames = npt.NDArray[np.uint8]
type Key = tuple[int, int]
"""Scale and frame-rate factor."""
type Report = Callable[[str, int, int], None]
"""Called with a label, the clips done and those in all."""

_SCENES = "scenes made by vs_sr.training.scenes (dead leaves, text, lattices, gradients with per-layer motion)"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What a worker makes clips of."""

    make: Callable[[], list[Frames]]
    """Films (T, H, W, 3)."""
    box: tuple[int, int, int] | None = None
    """Row, column and side of the clip in its film, which is reduced and coded whole; None: the film is the clip."""
    index: int = 0
    """Of the first clip in its source: what is drawn of degradations."""
    lead: int = 0
    """Frames of the film before the clip: a codec sees them first."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Clips of one kind, and how many there will be."""

    facts: object
    """All that decides them, for the name of the file."""
    count: int
    shape: tuple[int, int]
    """Frames, and pixels on a side."""
    jobs: Callable[[], Iterator[_Job]]


def load(data: Data, place: Place, report: Report | None = None) -> Clips:
    """All clips of a recipe.

    Args:
        data: what is wanted.
        place: the user's files, or packed clips; the folder to keep clips in, and how many processes may work.
        report: told how far it is.

    Raises:
        ArgumentError: files that a source needs are not given, held-out seeds are asked for, or sizes do not fit.
        VsSrError: a file of the user's cannot be read.
    """
    if place.clips:
        return packed.unpack(place.clips, data, place.workers)
    _check(data, place)
    sources = list(_sources(data, place))
    parts = [_kept(source, data, place, report) for source in sources]
    degraded = [_chain(data, index) is not None for source in sources for index in range(source.count)]
    parts += [_pairs(place.h5, data) for _ in data.h5 if place.h5]
    degraded += [False] * sum(len(part.hr) for part in parts[len(sources) :])
    lr = {key: _joined([part.lr[key] for part in parts]) for key in _keys(data)}
    return Clips(_joined([part.hr for part in parts]), lr, degraded if any(degraded) else ())


def given(place: Place) -> dict[str, object]:
    """What tells the files that clips are made of from others, by their options."""
    if place.clips:
        carried: dict[str, object] = packed.facts(place.clips)["files"]
        return carried
    options: dict[str, Iterable[Path]] = {
        "--video": place.video,
        "--images": images.listed(place.images),
        "--photos": images.listed(place.photos),
        "--h5": [place.h5] if place.h5 else [],
    }
    return {option: found for option, paths in options.items() if (found := files.contents(paths))}


def described(data: Data, place: Place) -> str:
    """What the weights are trained on, for their metadata."""
    if place.clips:
        return str(packed.facts(place.clips)["described"])
    parts = [_SCENES] if any(not each.photos for each in data.scenes) else []
    parts += ["scenes of photographs"] if any(each.photos for each in data.scenes) else []
    parts += [f"clips of {', '.join(path.name for path in place.video)}"] if data.video else []
    parts += ["crops of images"] if data.images or data.h5 else []
    made = "MATLAB-compatible bicubic" if data.rule.startswith("matlab") else data.rule
    parts += [f"reduced by {made}" + (", a part of them also blurred, noisy or coded" if data.degradation else "")]
    return "; ".join([*parts, *([place.attribution] if place.attribution else [])])


def _keys(data: Data) -> list[Key]:
    return sorted(set(product(data.scale, data.multi)))


def _chain(data: Data, index: int) -> Chain | None:
    """What clip ``index`` of a source goes through."""
    return Chain.draw(data.degradation, index) if data.degradation else None


def _lead(data: Data, index: int) -> int:
    """Frames that a codec has to see before clip ``index`` of a source."""
    chain = _chain(data, index)
    return chain.run_in * max(data.multi) if chain else 0


def _check(data: Data, place: Place) -> None:
    """Raise ArgumentError where files are missing or sizes do not fit."""
    needs = (
        (data.video, place.video, "data.video", "--video FILE"),
        (data.images, place.images, "data.images", "--images FOLDER"),
        (any(each.photos for each in data.scenes), place.photos, "data.scenes.photos", "--photos FOLDER"),
        (data.h5, place.h5, "data.h5", "--h5 FILE"),
    )
    for wanted, given, key, option in needs:
        if wanted and not given:
            raise ArgumentError(f"{key} is about files of yours; give them with {option}")
        if given and not wanted:
            raise ArgumentError(f"{option} is given, but the recipe has no {key}")
    if data.frames < (min(data.inputs) - 1) * max(data.multi) + 1:
        raise ArgumentError(
            f"clips of {data.frames} frames hold no {min(data.inputs)} inputs, {max(data.multi)} apart; lengthen them"
        )
    squares: tuple[Scenes | Video | Images, ...] = (*data.scenes, *data.video, *data.images)
    for sided in squares:
        for scale in data.scale:
            if sided.size % scale or sided.size // scale < data.patch:
                raise ArgumentError(
                    f"size={sided.size} must be a multiple of scale {scale}, at least {scale} * patch ({data.patch})"
                )
    for scene in data.scenes:
        if scene.seed + scene.count > HELD_OUT_SEED:
            raise ArgumentError(f"seeds from {HELD_OUT_SEED} on are held out; got {scene.count} from seed {scene.seed}")


def _sources(data: Data, place: Place) -> Iterator[_Source]:
    for scenes in data.scenes:
        yield _scenes(scenes, place, data)
    for facts in data.video:
        for number, path in enumerate(place.video):
            share = facts.count // len(place.video) + (number < facts.count % len(place.video))
            if share:
                yield _video(path, replace(facts, count=share), data)
    for crops in data.images:
        yield _images(crops, place)


def _scenes(facts: Scenes, place: Place, data: Data) -> _Source:
    photos = images.Photographs(tuple(images.listed(place.photos))) if facts.photos else None
    given = {"image": photos} if photos else {}

    def jobs() -> Iterator[_Job]:
        for index in range(facts.count):
            lead = _lead(data, index) if facts.frames > 1 else 0
            make = partial(make_clip, facts.seed + index, facts.frames, facts.size, facts.span, **given, lead=lead)
            yield _Job(make=partial(_alone, make), index=index, lead=lead)

    return _Source(
        facts=(facts, photos and files.contents(photos.paths)),
        count=facts.count,
        shape=(facts.frames, facts.size),
        jobs=jobs,
    )


def _video(path: Path, facts: Video, data: Data) -> _Source:
    def jobs() -> Iterator[_Job]:
        spots = video.choose(path, facts, data.scale)
        size = video.size_at(path, facts.height, int(np.lcm.reduce(data.scale)))
        leads = [_lead(data, index) for index in range(len(spots))]
        for index, (spot, film) in enumerate(video.clips(path, facts, spots, size, leads)):
            make, box = partial(_alone, partial(np.asarray, film)), (spot.y, spot.x, facts.size)
            yield _Job(make=make, box=box, index=index, lead=len(film) - facts.frames)

    stills = facts.count // facts.stills if facts.stills else 0
    return _Source(
        facts=(facts, files.contents([path])), count=facts.count + stills, shape=(facts.frames, facts.size), jobs=jobs
    )


def _images(facts: Images, place: Place) -> _Source:
    paths = images.listed(place.images)
    counts = [images.crop_count(path, facts.size, facts.stride) for path in paths]
    if not sum(counts):
        raise ArgumentError(f"no image is larger than data.images.size={facts.size}; choose a smaller one")

    def jobs() -> Iterator[_Job]:
        done = 0
        for path, count in zip(paths, counts, strict=True):
            if count:
                yield _Job(make=partial(images.crops, path, facts.size, facts.stride), index=done)
            done += count

    return _Source(facts=(facts, files.contents(paths)), count=sum(counts), shape=(1, facts.size), jobs=jobs)


def _alone(make: Callable[[], Frames]) -> list[Frames]:
    return [make()]


def _kept(source: _Source, data: Data, place: Place, report: Report | None) -> Clips:
    """The clips of a source, mapped from its files, which are made where they are not there."""
    keys = _keys(data)
    facts = repr((source.facts, keys, data.rule, data.degradation))
    stem = f"clips_{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    frames, side = source.shape
    shapes = {"hr": (source.count, frames, side, side, 3)} | {
        _label(key): (source.count, frames, side // key[0], side // key[0], 3) for key in keys
    }
    paths = {name: place.out / "pool" / f"{stem}_{name}.npy" for name in shapes}
    if not all(path.exists() for path in paths.values()):
        paths["hr"].parent.mkdir(parents=True, exist_ok=True)
        parts = {name: path.with_suffix(".part") for name, path in paths.items()}
        opened = {name: np.lib.format.open_memmap(parts[name], "w+", np.uint8, shape) for name, shape in shapes.items()}
        for index, clip in enumerate(_made(source.jobs(), data, place.workers)):
            for name, film in clip.items():
                opened[name][index] = film
            if report:
                report("clips", index + 1, source.count)
        for array in opened.values():
            array.flush()
        opened.clear()  # Windows moves no file that is mapped
        for name, part in parts.items():
            system.replace(part, paths[name])
    kept = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
    return Clips(kept["hr"], {key: kept[_label(key)] for key in keys})


def _label(key: Key) -> str:
    return f"x{key[0]}_{key[1]}"


def _made(jobs: Iterator[_Job], data: Data, workers: int) -> Iterator[dict[str, Frames]]:
    """The clips of jobs, in their order, by worker processes, a few ahead: films are large. One is this process."""
    work = partial(_work, data=data)
    if workers == 1:
        threads = torch.get_num_threads()
        for job in jobs:
            yield from work(job)
        torch.set_num_threads(threads)  # rendering takes one
        return
    waiting: deque[Future[list[dict[str, Frames]]]] = deque()
    # spawn: a forked child inherits torch's thread pool, but not its threads
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
        for job in jobs:
            waiting.append(processes.submit(work, job))
            if len(waiting) > 3 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _work(job: _Job, *, data: Data) -> list[dict[str, Frames]]:
    """The clips of a job: HR and, by name, LR."""
    found: list[dict[str, Frames]] = []
    for offset, film in enumerate(job.make()):
        chain = _chain(data, job.index + offset)
        own = film[job.lead :]
        clip = {"hr": own if job.box is None else _cut(own, job.box, 1)}
        reduced = {scale: reduce_frames(film, scale, cast("Rule", data.rule)) for scale in data.scale}
        for scale, multi in _keys(data):
            low = _degraded(reduced[scale], chain, multi, job.lead) if chain else reduced[scale][job.lead :]
            clip[_label((scale, multi))] = low if job.box is None else _cut(low, job.box, scale)
        found.append(clip)
    return found


def _degraded(film: Frames, chain: Chain, multi: int, lead: int) -> Frames:
    """What a chain makes of a film's frames from ``lead`` on: of those ``multi`` apart in a row, the run-in first."""
    first = lead - min(chain.run_in, lead // multi) * multi
    out = film[first:].copy()
    for phase in range(min(multi, len(out))):
        out[phase::multi] = chain(out[phase::multi])
    return out[lead - first :]


def _cut(film: Frames, box: tuple[int, int, int], scale: int) -> Frames:
    y, x, side = (length // scale for length in box)
    return film[:, y : y + side, x : x + side]


def _pairs(path: Path, data: Data) -> Clips:
    """The pairs of an HDF5 file, in memory: the files are as large as papers' training sets of patches."""
    if data.multi != (1,) or len(data.scale) > 1:
        raise ArgumentError("data.h5 holds images of one scale: data.multi and data.scale must be of one value")
    both = list(images.pairs(path))
    for low, high in both:
        if high.shape[1] != low.shape[1] * data.scale[0]:
            raise ArgumentError(f"{path.name} is for another scale than data.scale={data.scale[0]}")
    return Clips([high for _, high in both], {(data.scale[0], 1): [low for low, _ in both]})


@dataclass(frozen=True)
class _Joined(Sequence[Frames]):
    """Several sequences as one."""

    parts: tuple[Sequence[Frames], ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: object) -> Frames:  # type: ignore[override]
        assert isinstance(index, int)
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)


def _joined(parts: list[Sequence[Frames]]) -> Sequence[Frames]:
    return parts[0] if len(parts) == 1 else _Joined(tuple(parts))
