"""States in files: a render that was interrupted, and a film in several files, without other bits."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import vapoursynth as vs
from helpers.clips import digest, moving, slow
from helpers.counting import made, numbers, run, triple
from helpers.recurrence import Clip
from safetensors.torch import save_file

import vs_sr
from vs_sr.engine.scheduler import state as state_files
from vs_sr.errors import ArgumentError
from vs_sr.weights import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

core = vs.core


def state(**changes: Any) -> vs_sr.State:
    facts: dict[str, Any] = {
        "window": 3, "past": 1, "frames": 20, "final": False, "fingerprint": {"model": "X", "window": "4"},
        "tiles": ((torch.rand(1, 4, 3, 5), torch.rand(1, 4, 3, 5).half(), torch.rand(2)), None, (torch.rand(1),)),
    }  # fmt: skip
    return vs_sr.State(**{**facts, **changes})


def test_a_file_gives_back_what_went_in(tmp_path: Path) -> None:
    before = state()
    before.save(tmp_path / "s.safetensors")
    after = vs_sr.State.load(tmp_path / "s.safetensors")
    assert (after.window, after.past, after.frames, after.final) == (3, 1, 20, False)
    assert after.fingerprint == before.fingerprint
    assert after.tiles[1] is None
    for kept, given in zip(after.tiles, before.tiles, strict=True):
        for a, b in zip(kept or (), given or (), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    state().save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        state(window=9).save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["s.safetensors"]


def test_files_that_are_no_states_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ArgumentError, match="cannot be read: No such file"):
        vs_sr.State.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ArgumentError, match="is text, not weights"):
        vs_sr.State.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ArgumentError, match=r"is no state; a run with state_out= writes one"):
        vs_sr.State.load(path)
    save_file({"a": torch.zeros(2)}, path, {"kind": "vs_sr state 2", "window": "x"})
    with pytest.raises(ArgumentError, match="is damaged"):
        vs_sr.State.load(path)
    state().save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ArgumentError, match="a broken download"):
        vs_sr.State.load(path)


def test_another_run_is_refused_with_what_differs() -> None:
    state().check({"model": "X", "window": "4"})
    with pytest.raises(ArgumentError, match=r"made with model 'X', now 'Y'; precision '-', now 'fp16'; it continues"):
        state().check({"model": "Y", "window": "4", "precision": "fp16"})


# Through the filter


def frames(node: vs.VideoNode, wanted: Iterable[int]) -> dict[int, tuple[int, ...]]:
    return {n: triple(node.get_frame(n)) for n in wanted}


@pytest.mark.parametrize("cuts", [(), (14, 22)], ids=str)
@pytest.mark.parametrize("segment", [0, 5])
def test_an_interrupted_render_goes_on_without_a_rebuild(tmp_path: Path, segment: int, cuts: tuple[int, ...]) -> None:
    path = str(tmp_path / "film.state")
    clip = Clip(frames=50, carry=True, segment=segment, cuts=cuts)
    frames(run(clip, state_out=path, checkpoint=4), range(53))  # cut short in window 8
    kept = vs_sr.State.load(path)
    assert (kept.window, kept.final, kept.frames) == (8, False, 50)
    for calls in made[-1].calls.values():  # the network is that of the first run: they share a session
        calls.clear()
    node = run(clip, state_in=path)
    assert frames(node, range(48, 100)) == {n: clip.expected(n) for n in range(48, 100)}
    assert min(made[-1].calls["encode"]) == 24
    assert len(made[-1].calls["forward"]) == 99 - 48 - sum(2 * i >= 48 for i in cuts)
    assert frames(node, range(48)) == {n: clip.expected(n) for n in range(48)}, "what lies before is rebuilt"


@pytest.mark.parametrize("segment", [0, 5])
@pytest.mark.parametrize("cuts", [(), (11, 12, 30)], ids=str)
def test_a_film_in_three_files_is_the_unbroken_film(tmp_path: Path, segment: int, cuts: tuple[int, ...]) -> None:
    """Each file begins with the last frame of the one before, at a window's border."""
    whole = Clip(frames=46, carry=True, segment=segment, cuts=cuts)
    source = numbers(46, cuts)
    borders, paths = (0, 12, 30, 45), [str(tmp_path / f"{part}.state") for part in range(3)]
    for part, (first, last) in enumerate(pairwise(borders)):
        given = {"state_in": paths[part - 1]} if part else {}
        node = core.vs_sr.Recurrence(
            source[first : last + 1], carry=1, segment=segment, state_out=paths[part], device_id=-1, **given
        )
        found = frames(node, range(node.num_frames))
        same = range(2 * first, 2 * last - 6 if part < 2 else 92)  # the last window lacks its future
        assert {n: found[n - 2 * first] for n in same} == {n: whole.expected(n) for n in same}, part
        state = vs_sr.State.load(paths[part])
        assert (state.final, state.past + state.window) == (True, last // 3)


def test_a_clip_that_ends_inside_a_window_leaves_its_last_checkpoint(tmp_path: Path) -> None:
    path = str(tmp_path / "film.state")
    node = run(Clip(frames=24, carry=True), state_out=path, checkpoint=2)
    frames(node, range(48))
    assert (vs_sr.State.load(path).window, vs_sr.State.load(path).final) == (6, False)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"multi": 1, "segment": 3},
        pytest.param({"precision": "bf16"}, marks=pytest.mark.slow),
        pytest.param({"tilesize": [24, 20], "overlap": 4}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_real_network_goes_on_bit_for_bit(tmp_path: Path, arguments: dict[str, Any]) -> None:
    path = str(tmp_path / "film.state")
    clip = moving(13, 34, 26, vs.YUV420P8)
    multi = arguments.get("multi", 2)
    whole = [digest(frame) for frame in slow(clip, carry=1, **arguments).frames()]
    first = slow(clip[:7], carry=1, state_out=path, **arguments)
    assert [digest(frame) for frame in first.frames()][: 3 * multi] == whole[: 3 * multi]
    second = slow(clip[6:], carry=1, state_in=path, **arguments)
    assert [digest(frame) for frame in second.frames()] == whole[6 * multi :]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"carry": 0, "state_in": "{path}"}, "state_in and state_out are for a state that is carried; give carry=1"),
        ({"carry": 0, "state_out": "{path}"}, "give carry=1"),
        (
            {"state_out": "nowhere/film.state"},
            "state_out='nowhere/film.state' cannot be written: there is no such folder",
        ),
        ({"state_in": "nowhere/film.state"}, "state_in: the state .*nowhere/film.state cannot be read: No such file"),
        ({"state_in": "{path}", "length": 21}, "is of a clip of 20 frames, this one has 21"),
        ({"state_in": "{path}", "window": 5}, r"made with window '4', now '5'"),
        ({"state_in": "{path}", "segment": 7}, r"segment '0', now '7'"),
        ({"state_in": "{path}", "tilesize": 64}, None),
    ],
    ids=str,
)
def test_what_cannot_go_on_is_an_error(tmp_path: Path, arguments: dict[str, Any], text: str | None) -> None:
    path = str(tmp_path / "film.state")
    frames(run(Clip(frames=20, carry=True), state_out=path, checkpoint=2), range(30))
    given = {key: value.format(path=path) if isinstance(value, str) else value for key, value in arguments.items()}
    clip = numbers(given.pop("length", 20))
    if text is None:  # a tile that is the whole frame is the same plan
        core.vs_sr.Recurrence(clip, carry=1, device_id=-1, state_in=path).get_frame(0)
        return
    with pytest.raises(vs.Error, match=text):
        core.vs_sr.Recurrence(clip, **{"carry": 1, "device_id": -1, "segment": 0, **given}).get_frame(0)


def content(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path: Path, header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def sealed(header: dict[str, Any]) -> dict[str, Any]:
    """With the checksum that somebody would put there who means it."""
    metadata = {key: value for key, value in header["__metadata__"].items() if key != "header"}
    dtypes = checkpoint.SAFETENSORS
    parts = [(name, dtypes[e["dtype"]], tuple(e["shape"])) for name, e in header.items() if name != "__metadata__"]
    return {**header, "__metadata__": {**metadata, "header": state_files._seal(metadata, parts)}}


def test_damage_to_the_numbers_is_seen_at_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.state"
    frames(run(Clip(frames=20, carry=True), state_out=str(path), checkpoint=2), range(30))
    header, body = content(path)
    for at in (0, len(body) // 2, len(body) - 1):
        write(path, header, body[:at] + bytes([body[at] ^ 64]) + body[at + 1 :])
        with pytest.raises(vs.Error, match=r"Recurrence: (state_in: )?the state .*film\.state is damaged"):
            core.vs_sr.Recurrence(numbers(20), carry=1, device_id=-1, segment=0, state_in=str(path)).get_frame(0)


@pytest.mark.parametrize("with_checksum", [False, True])
@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("window", "-1"), ("window", "1e9"), ("window", str(1 << 40)), ("past", "x"), ("frames", "9" * 5000),
        ("final", "2" * 99),
        ("fingerprint", "[]"), ("fingerprint", '{"model": 3}'), ("fingerprint", "[" * 9999), ("fingerprint", ""),
        ("known", [1, 1]), ("known", []), ("hidden", "I32"), ("gone", None), ("name", None),
    ],
)  # fmt: skip
def test_a_header_of_something_else_is_refused_when_the_filter_is_made(
    tmp_path: Path, entry: str, value: Any, with_checksum: bool
) -> None:
    path = tmp_path / "film.state"
    frames(run(Clip(frames=20, carry=True), state_out=str(path), checkpoint=2), range(30))
    header, body = content(path)
    if entry == "known":
        header["known"]["shape"] = value
    elif entry == "hidden":
        header["forward.0.hidden"]["dtype"] = value
    elif entry == "gone":
        header["forward.1.hidden"] = header.pop("forward.0.hidden")
    elif entry == "name":
        header["anything"] = header.pop("forward.0.hidden")
    else:
        header["__metadata__"][entry] = value
    header = {**header, "known": header.pop("known")}  # the order in which the numbers lie
    write(path, sealed(header) if with_checksum else header, body)
    with pytest.raises(vs.Error, match=r"Recurrence: state_in: the state .*film\.state") as caught:
        core.vs_sr.Recurrence(numbers(20), carry=1, device_id=-1, segment=0, state_in=str(path))
    assert "Error:" not in str(caught.value)
    assert len(str(caught.value)) <= 500


def test_another_run_is_refused_when_the_filter_is_made(tmp_path: Path) -> None:
    path = str(tmp_path / "film.state")
    frames(run(Clip(frames=20, carry=True), state_out=path, checkpoint=2), range(30))
    for arguments in ({"segment": 7}, {"window": 5}, {"sc": 0}, {"sc_threshold": 0.25}, {"range_in": 0}):
        with pytest.raises(vs.Error, match=f"the state was made with {next(iter(arguments))} '"):
            core.vs_sr.Recurrence(
                numbers(20), **{"carry": 1, "device_id": -1, "segment": 0, **arguments}, state_in=path
            )


def test_a_state_that_changes_before_the_first_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.state"
    frames(run(Clip(frames=20, carry=True), state_out=str(path), checkpoint=2), range(20))
    node = core.vs_sr.Recurrence(numbers(20), carry=1, device_id=-1, segment=0, state_in=str(path))
    frames(run(Clip(frames=20, carry=True), state_out=str(path), checkpoint=2), range(40))
    with pytest.raises(vs.Error, match=r"film\.state has changed since the filter was made"):
        node.get_frame(0)


def test_names_of_states_are_meant_where_the_script_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    node = run(Clip(frames=20, carry=True), state_out="film.state", checkpoint=2)
    monkeypatch.chdir(tmp_path / "there")
    frames(node, range(30))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.state")] == ["here/film.state"]
    monkeypatch.chdir(tmp_path / "here")
    node = run(Clip(frames=20, carry=True), state_in="film.state")
    monkeypatch.chdir(tmp_path / "there")
    node.get_frame(0).close()


def test_a_full_disk_names_the_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.state"
    node = run(Clip(frames=20, carry=True), state_out=str(path), checkpoint=1)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(
        vs.Error, match=r"Recurrence: state_out='.*film\.state' cannot be written: No space left"
    ) as caught:
        frames(node, range(40))
    assert "Errno" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_state_that_cannot_be_written_fails_the_render(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    node = run(Clip(frames=20, carry=True), state_out=str(folder / "film.state"), checkpoint=1)
    folder.rmdir()
    with pytest.raises(vs.Error, match=r"Recurrence: .*film\.state"):
        frames(node, range(40))
    assert Path(tmp_path).exists()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_state_that_is_loaded_can_be_written_again(tmp_path: Path) -> None:
    """Windows refuses to replace a file that is mapped into memory; state_in and state_out are often the same."""
    path = tmp_path / "mapped.safetensors"
    before = state()
    before.save(path)
    loaded = vs_sr.State.load(path)
    assert path.name not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert loaded.tiles[2] is not None
    assert torch.equal(loaded.tiles[2][0], (before.tiles[2] or ())[0])
