"""The plugin's node for groups of frames: its grid and its order of work."""

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import vapoursynth as vs
from helpers.support import numbered, pixel
from helpers.toys import echo, frame_of, toy

from vs_sr._bridge import Need, Work

core = vs.core


class Recurrence:
    """A callback with memory: every output depends on all inputs up to its own, in order.

    It remembers the state of the last group only. Any other it rebuilds from the start of the clip, for which
    it needs the frames from there, in portions that it gives back; how far it has come is its request's own.
    """

    def __init__(self, step: int, multi: int, delay: float = 0.0, portion: int = 7) -> None:
        self.step, self.multi, self.delay, self.portion = step, multi, delay, portion
        self.state = (0, 0)
        self.finished: list[int] = []
        self.folded = 0
        self.busy = threading.Lock()

    def fold(self, state: int, value: int) -> int:
        self.folded += 1
        return folded(state, value)

    def __call__(self, g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Work:
        work = self.run(g, want, numbers, frames)
        sent = None
        while True:
            assert self.busy.acquire(blocking=False), "two callbacks at once"
            try:
                need = work.send(sent)  # type: ignore[arg-type]
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                self.busy.release()
            sent = yield need

    def run(self, g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Work:
        first = g * self.step
        done, state = self.state if self.state[0] == first else (0, 0)
        portion: list[int] = []
        while done < first:
            need = Need(range(done, min(done + self.portion, first)), drop=portion)
            numbers, frames = yield need
            values = dict(zip(numbers, map(pixel, frames), strict=True))
            portion = list(need.frames)
            for n in portion:
                state = self.fold(state, values[n])
            done += len(portion)
        values = dict(zip(numbers, map(pixel, frames), strict=True))
        time.sleep(self.delay)
        made = []
        for n in range(first, first + want // self.multi):
            state = self.fold(state, values[n])
            made += [frame_of(8 * state + k) for k in range(self.multi)]
        self.state = (first + want // self.multi, state)
        self.finished.append(g)
        return made


def folded(state: int, value: int) -> int:
    return (31 * state + value + 1) % 8191


def expected(inputs: int, multi: int) -> list[int]:
    outputs, state = [], 0
    for n in range(inputs):
        state = folded(state, n)
        outputs += [8 * state + k for k in range(multi)]
    return outputs


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = core.num_threads
    yield lambda count: setattr(core, "num_threads", count)
    core.num_threads = before


def ordered(order: str, count: int) -> list[int]:
    numbers = list(range(count))
    if order == "reversed":
        numbers.reverse()
    elif order == "shuffled":
        random.Random(7).shuffle(numbers)
    return numbers


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
@pytest.mark.parametrize("way", ["one by one", "all at once"])
def test_state_does_not_depend_on_the_order_of_requests(
    way: str, order: str, count: int, threads: Callable[[int], None]
) -> None:
    threads(count)
    recurrence = Recurrence(step=3, multi=2)
    clip = toy(numbered(50), recurrence)
    wanted = ordered(order, clip.num_frames)
    if way == "one by one":
        found = {n: pixel(clip.get_frame(n)) for n in wanted}
    else:
        futures = {n: clip.get_frame_async(n) for n in wanted}
        found = {n: pixel(future.result()) for n, future in futures.items()}
    assert [found[n] for n in range(100)] == expected(50, 2)


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("way", ["one by one", "frames", "all at once", "two readers"])
def test_each_group_is_made_once_in_order(way: str, count: int, threads: Callable[[int], None]) -> None:
    threads(count)
    recurrence = Recurrence(step=3, multi=2, delay=0.01)
    clip = toy(numbered(60), recurrence)
    if way == "one by one":
        found = [pixel(clip.get_frame(n)) for n in range(120)]
    elif way == "frames":
        found = [pixel(frame) for frame in clip.frames(close=True)]
    elif way == "all at once":
        found = [pixel(future.result()) for future in [clip.get_frame_async(n) for n in range(120)]]
    else:
        pairs = [(clip.get_frame(n), clip.get_frame(n)) for n in range(120)]
        found = [pixel(a) for a, b in pairs if pixel(a) == pixel(b)]
    assert found == expected(60, 2)
    assert sorted(recurrence.finished) == list(range(20))
    if count == 1 or way == "one by one":
        assert recurrence.finished == list(range(20))


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("seeks", [9, 17, 32])
def test_seeks_at_once_keep_their_progress(seeks: int, count: int, threads: Callable[[int], None]) -> None:
    """The callback remembers one state, so each seek is a rebuild of its own, and none is begun twice."""
    threads(count)
    recurrence = Recurrence(step=3, multi=2)
    clip = toy(numbered(600), recurrence)
    groups = random.Random(seeks).sample(range(100, 199), seeks)
    found = {g: clip.get_frame_async(6 * g) for g in groups}
    wanted = expected(600, 2)
    assert {g: pixel(future.result()) for g, future in found.items()} == {g: wanted[6 * g] for g in groups}
    assert recurrence.folded <= sum(3 * g + 3 for g in groups)


class Counted:
    """Requests that are on their way: of groups that need frames from far away, one after the other."""

    def __init__(self, fault: str = "", steps: int = 5) -> None:
        self.fault, self.steps = fault, steps
        self.alive = self.begun = 0
        self.lock = threading.Lock()

    def __call__(self, g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Work:
        with self.lock:
            self.alive += 1
            self.begun += 1
        try:
            for step in range(self.steps):
                if step == 3 and g % 2 and self.fault == "raises":
                    raise ValueError("no")
                if step == 3 and g % 2 and self.fault == "asks for what it has":
                    yield Need([numbers[0]])
                yield Need([300 + self.steps * g + step])
            return [frame_of(g)] * want
        finally:
            with self.lock:
                self.alive -= 1


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("fault", ["", "raises", "asks for what it has", "an input fails"])
def test_what_a_request_has_achieved_ends_with_it(fault: str, count: int, threads: Callable[[int], None]) -> None:
    """Whether it makes its frames, fails in the callback, in the plugin or in an input."""
    threads(count)
    source = numbered(600)
    if fault == "an input fails":

        def broken(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            if n >= 300 and n % 10 == 8:
                raise ValueError("no")
            return f.copy()

        source = source.std.ModifyFrame(source, broken)
    counted = Counted(fault)
    clip = toy(source, counted)
    futures = {g: clip.get_frame_async(6 * g) for g in range(32)}
    for g, future in futures.items():
        if fault and g % 2:
            with pytest.raises(vs.Error):
                future.result()
        else:
            assert pixel(future.result()) == g
    assert counted.begun == 32
    del future, futures
    gc.collect()
    assert counted.alive == 0


def test_a_script_that_ends_with_requests_on_their_way_leaves_none() -> None:
    """The clip, and with it the filter's nodes, are given up while frames are asked for."""
    counted = Counted()
    clip = toy(numbered(600), counted)
    futures = [clip.get_frame_async(6 * g) for g in range(32)]
    del clip
    for future in futures:
        future.result().close()
    del future, futures
    gc.collect()
    assert counted.alive == 0


def test_two_filters_in_a_chain_read_backwards_make_each_group_once() -> None:
    inner, outer = Recurrence(3, 2, portion=400), Recurrence(4, 2, portion=400)
    clip = toy(toy(numbered(30), inner), outer, step=4)
    first = expected(30, 2)
    state, wanted = 0, []
    for value in first:
        state = folded(state, value)
        wanted += [8 * state, 8 * state + 1]
    assert [pixel(clip.get_frame(n)) for n in reversed(range(120))] == wanted[::-1]
    # In order inside the outer group, backwards from group to group: all of the outer ones, each once.
    assert outer.finished == list(reversed(range(15)))


def partition(inputs: int, step: int, share: int) -> list[list[int]]:
    """The inputs of each group, found by cutting a list: a piece of the shared frame alone is joined on."""
    pieces = [list(range(start, min(start + step, inputs))) for start in range(0, inputs, step)]
    if share and len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 6, 7, 8, 13])
def test_grid(inputs: int, share: int) -> None:
    source = numbered(inputs)
    shapes = [(1, 1, 0, 0), (1, 2, 1, 1), (2, 3, 0, 2), (3, 2, 0, 1), (4, 1, 3, 0), (9, 2, 1, 9)]
    for step, multi, before, after in shapes:
        seen: dict[int, tuple[int, list[int]]] = {}
        make = echo(step, multi)

        def callback(
            g: int,
            want: int,
            numbers: list[int],
            frames: list[vs.VideoFrame],
            seen: dict[int, tuple[int, list[int]]] = seen,
            make: Callable[..., Any] = make,
        ) -> Any:
            seen[g] = (want, numbers)
            assert [pixel(f) for f in frames] == numbers
            return make(g, want, numbers, frames)

        clip = toy(source, callback, step, multi, share, before=before, after=after)
        assert clip.num_frames == multi * inputs
        assert [pixel(f) for f in clip.frames()] == list(range(multi * inputs))
        pieces = partition(inputs, step, share)
        assert sorted(seen) == list(range(len(pieces)))
        for g, piece in enumerate(pieces):
            end = max(piece[-1], g * step + step - 1 + after)
            window = list(range(max(0, piece[0] - before), min(inputs - 1, end) + 1))
            assert seen[g] == (multi * len(piece), window), (step, multi, before, after, g)


@pytest.mark.parametrize("multi", [1, 2])
def test_a_clip_of_unknown_length_costs_nothing(multi: int) -> None:
    """Players hand over a clip of nearly 2**31 frames when they do not know its length."""
    most = 2**31 - 1
    source = core.std.BlankClip(length=most, width=8, height=8, format=vs.GRAY16, color=0, keep=True)
    seen = []

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        seen.append((g, want, numbers))
        return [frame_of(k) for k in range(want)]

    start = time.perf_counter()
    clip = toy(source, callback, multi=multi, before=1)
    assert clip.num_frames == most
    assert pixel(clip.get_frame(2)) == 2
    assert pixel(clip.get_frame(most - 1)) == (most - 1) % (3 * multi) or multi == 1
    assert time.perf_counter() - start < 2.0
    last = (most - 1) // (3 * multi)
    if multi == 2:
        first = 3 * last
        assert seen == [(0, 6, [0, 1, 2, 3]), (last, 6, [first - 1, first, first + 1, first + 2, first + 3])]
    else:
        # The shared frame is the last group's as well, so that group begins one step earlier.
        assert most % 3 == 1
        assert seen[1] == (last - 1, 4, [most - 5, most - 4, most - 3, most - 2, most - 1])
