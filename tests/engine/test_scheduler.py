"""The scheduler of sequences: the same numbers whatever was asked for before, and no more work than is due."""

from __future__ import annotations

import random
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.recurrence import Clip, Recurrence
from helpers.scheduling import clips, grid, pipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_sr.engine.device import OutOfMemoryError
from vs_sr.engine.scheduler import Held, Recurrent, Sliding
from vs_sr.engine.transfer import Download, Made, NotFiniteError, as_float, checked
from vs_sr.windows import ENDS, Grid, neighbors, shortest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vs_sr.engine.scheduler import Work
    from vs_sr.windows import Ends


def scheduler(clip: Clip, memory: int = 1 << 20, every: int = 3, **more: Any) -> Recurrent:
    return Recurrent(pipeline(grid(clip)), every=every, memory=memory, **more)


class Requests:
    """What the plugin does: asks for groups in an order, has several on the way at once, fetches what is needed."""

    def __init__(self, clip: Clip, made: Recurrent, network: Any = None) -> None:
        self.clip, self.made, self.grid, self.network = clip, made, made.grid, network or Recurrence()
        self.held: dict[int, set[int]] = {}
        self.work: dict[int, Work[Made]] = {}
        self.most = self.calls = 0
        self.width = 2

    def ask(self, group: int) -> dict[int, torch.Tensor] | None:
        """The next call for a group; None: its frames are on the way again."""
        held = self.held.setdefault(group, set(self.grid.seen(group)))
        self.most = max(self.most, len(held) - len(self.grid.seen(group)))
        self.calls += 1
        frames, valid = self._frames(held)
        try:
            if group in self.work:
                need = self.work[group].send(frames)
            else:
                self.work[group] = self.made.render(self.network, group, frames)
                need = next(self.work[group])
        except StopIteration as end:
            self.give_up(group)
            made: Made = end.value
            wanted = self.grid.outputs(group)
            return dict(zip(wanted, Download(made, wanted, as_float).wait(checked), strict=True))
        finally:
            valid.clear()
        assert need.frames, "nothing is needed"
        assert not held.intersection(need.frames), "held already"
        assert not set(need.drop) & set(self.grid.seen(group)), "the group's own"
        assert held.issuperset(need.drop), "not held"
        held.difference_update(need.drop)
        held.update(need.frames)
        return None

    def give_up(self, group: int) -> None:
        """The request is gone: it is done, or a frame could not be had."""
        del self.held[group], self.work[group]

    def fetch(self, group: int) -> dict[int, torch.Tensor]:
        while (answer := self.ask(group)) is None:
            pass
        return answer

    def _frames(self, held: set[int]) -> tuple[Held, set[int]]:
        cuts = {i for i in self.clip.cuts if i in held or i + 1 in held}
        valid = set(held)

        def image(number: int) -> torch.Tensor:
            assert number in valid, "the frame has been given back"
            return torch.full((3, 1, self.width), float(number))

        return Held(frozenset(held), frozenset(cuts), image), valid

    def interleaved(self, groups: Iterable[int], width: int, seed: int) -> dict[int, torch.Tensor]:
        """Up to ``width`` groups on the way at the same time, served in any order."""
        waiting, flying = list(groups), []
        choose = random.Random(seed)
        made: dict[int, torch.Tensor] = {}
        while waiting or flying:
            while waiting and len(flying) < width:
                flying.append(waiting.pop(0))
            group = choose.choice(flying)
            answer = self.ask(group)
            if answer is not None:
                flying.remove(group)
                made |= answer
        return made


def check(clip: Clip, made: dict[int, torch.Tensor]) -> None:
    found = {n: tuple(int(x) for x in image[:, 0, 0]) for n, image in made.items()}
    assert found == {n: clip.expected(n) for n in found}


@settings(max_examples=150)
@given(
    clip=clips,
    order=st.randoms(use_true_random=False),
    width=st.integers(1, 6),
    memory=st.sampled_from([1, 200, 1 << 20]),
)
def test_every_order_gives_the_same(clip: Clip, order: random.Random, width: int, memory: int) -> None:
    made = scheduler(clip, memory=memory)
    groups = list(range(made.grid.groups)) * 2
    order.shuffle(groups)
    found = Requests(clip, made).interleaved(groups, width, order.randint(0, 1 << 20))
    assert sorted(found) == list(range(clip.outputs))
    check(clip, found)


class Overflowing(Recurrence):
    """A cell state that no image shows, and that leaves its range."""

    def forward_step(self, timestep: Any, state: Any) -> Any:
        (hidden,) = super().forward_step(timestep, state)
        return hidden, torch.full_like(hidden, float("inf"))


def test_a_state_that_is_not_finite_is_not_carried_on() -> None:
    """Although the images of its window are: those of the next would not be."""
    clip = Clip(frames=8, carry=True)
    with pytest.raises(NotFiniteError, match="the state before frame 3 of the clip"):
        Requests(clip, scheduler(clip), Overflowing()).fetch(0)


@pytest.mark.parametrize("carry", [False, True])
def test_in_order_everything_is_computed_once(carry: bool) -> None:
    clip = Clip(frames=31, carry=carry, lookahead=2, segment=4)
    network = Recurrence()
    requests = Requests(clip, scheduler(clip), network)
    for group in range(requests.grid.groups):
        check(clip, requests.fetch(group))
    assert sorted(network.calls["encode"]) == list(range(31))
    assert len(network.calls["between"]) == 30
    assert len(network.calls["forward"]) == 61, "each timestep of the sequence is integrated once"
    assert len(network.calls["reconstruct"]) == 61, "the last frame is repeated, not computed again"
    assert requests.most == 0, "no frames beside the windows' own"


@pytest.mark.parametrize("multi", [4, 8])
def test_a_level_costs_what_its_timesteps_cost(multi: int) -> None:
    """Each is made once, stepped over once, and shown."""
    clip = Clip(frames=16, multi=multi, carry=True)
    network = Recurrence()
    requests = Requests(clip, scheduler(clip), network)
    for group in range(requests.grid.groups):
        check(clip, requests.fetch(group))
    counts = {name: len(calls) for name, calls in network.calls.items()}
    total = 15 * multi + 1
    assert counts == {"encode": 16, "between": total - 16, "forward": total, "reconstruct": total}


def test_requests_on_the_way_cost_at_most_one_step_more() -> None:
    """With 16 outputs outstanding in order, groups come a few places out of turn."""
    clip = Clip(frames=64, carry=True)
    for seed in range(8):
        network = Recurrence()
        requests = Requests(clip, scheduler(clip, every=4), network)
        check(clip, requests.interleaved(range(requests.grid.groups), 4, seed))
        assert set(Counter(network.calls["reconstruct"]).values()) == {1}
        assert max(Counter(network.calls["forward"]).values()) <= 2


def test_a_seek_looks_back_to_its_segment_and_reconstructs_nothing_else() -> None:
    clip = Clip(frames=3 * 40 + 1, carry=True, segment=6)
    for group in (5, 6, 17, 39):
        network = Recurrence()
        requests = Requests(clip, scheduler(clip), network)
        check(clip, requests.fetch(group))
        assert len(network.calls["reconstruct"]) == 6 + (group == 39)
        assert min(network.calls["encode"]) == 3 * (group - group % 6)
        assert requests.most <= 12, "frames come in portions"


def test_a_seek_looks_back_to_the_cut() -> None:
    clip = Clip(frames=300, carry=True, cuts={100, 200, 202})
    network = Recurrence()
    requests = Requests(clip, scheduler(clip), network)
    check(clip, requests.fetch(80))
    assert min(network.calls["forward"]) >= 200
    assert requests.most <= 12


def test_checkpoints_shorten_the_way_back() -> None:
    clip = Clip(frames=301, carry=True)
    network = Recurrence()
    requests = Requests(clip, scheduler(clip, every=10), network)
    for group in range(100):
        requests.fetch(group)
    network.calls["forward"].clear()
    check(clip, requests.fetch(57))
    assert len(network.calls["forward"]) == 6 * 8


@pytest.mark.parametrize("memory", [1, 100, 1000, 5000])
def test_checkpoints_keep_to_their_memory(memory: int) -> None:
    clip = Clip(frames=1001, carry=True)
    made = scheduler(clip, memory=memory, every=2)
    requests = Requests(clip, made)
    for group in range(300):
        requests.fetch(group)
    kept = made._checkpoints
    assert kept.size <= max(memory, 16)
    assert len(kept) >= 1
    for group in (299, 150, 3):
        check(clip, requests.fetch(group))


def test_a_request_that_never_comes_back_leaves_nothing() -> None:
    """What it has achieved lives in it alone."""
    clip = Clip(frames=3001, carry=True)
    made = scheduler(clip)
    requests = Requests(clip, made)
    gone = []
    for group in range(999, 500, -1):
        assert requests.ask(group) is None
        gone.append(weakref.ref(requests.work[group]))
        requests.give_up(group)
    assert not any(work() for work in gone)
    check(clip, requests.fetch(700))


def test_a_rebuild_that_is_not_needed_any_more_is_given_up() -> None:
    """Its state became known meanwhile, by another window's rebuild."""
    clip = Clip(frames=301, carry=True)
    network = Recurrence()
    requests = Requests(clip, scheduler(clip), network)
    assert requests.ask(5) is None
    check(clip, requests.fetch(6))
    before = len(network.calls["forward"])
    check(clip, requests.fetch(5))
    assert len(network.calls["forward"]) - before == 6, "its own window's"


def _in_turn(flying: list[int], last: int, _: random.Random) -> int:
    return flying[(last + 1) % len(flying)]


def _newest_first(flying: list[int], *_: Any) -> int:
    return flying[-1]


def _any(flying: list[int], _: int, choose: random.Random) -> int:
    return choose.choice(flying)


@pytest.mark.parametrize("serve", [_in_turn, _newest_first, _any])
@pytest.mark.parametrize("count", [9, 17, 32])
@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_many_seeks_at_once_do_what_the_longest_does_alone(serve: Callable[..., int], count: int, memory: int) -> None:
    """Whoever is served when: none takes another's progress away, and each step is taken once."""
    clip = Clip(frames=301, carry=True)
    for seed in range(2):
        choose = random.Random(seed)
        network = Recurrence()
        requests = Requests(clip, scheduler(clip, memory=memory, every=8), network)
        flying, last, made = choose.sample(range(40, 100), count), -1, {}
        furthest, own = max(flying), 6 * count
        while flying:
            group = serve(flying, last, choose)
            last = flying.index(group)
            answer = requests.ask(group)
            if answer is not None:
                flying.remove(group)
                made |= answer
        check(clip, made)
        steps = len(network.calls["forward"])
        if memory == 1:  # one state is kept beside those that the requests hold
            assert steps <= count * (6 * furthest + 6)
        else:
            assert steps <= 6 * furthest + own + count * 6 * 8, "each at most the way from a checkpoint again"
        # there and back, two windows a time, and now and then in vain
        assert requests.calls <= count * (2 * furthest + 2)
        if serve is _any and count == 32 and memory > 1:
            assert requests.calls <= 6 * furthest, "a window without a cut is looked at by one"


@settings(max_examples=60)
@given(
    clip=clips,
    order=st.randoms(use_true_random=False),
    width=st.integers(7, 32),
    memory=st.sampled_from([1, 200, 1 << 20]),
    failing=st.integers(0, 3),
)
def test_up_to_32_on_the_way_give_the_same_where_some_fail(
    clip: Clip, order: random.Random, width: int, memory: int, failing: int
) -> None:
    """As VapourSynth has them: a request may end at any of its calls, and the others' frames are what they are."""
    requests = Requests(clip, scheduler(clip, memory=memory))
    waiting = list(range(requests.grid.groups)) * 2
    order.shuffle(waiting)
    flying: list[int] = []
    made: dict[int, torch.Tensor] = {}
    while waiting or flying:
        while waiting and len(flying) < width:
            group = waiting.pop()
            if group not in flying:  # VapourSynth has one request a group
                flying.append(group)
        group = order.choice(flying)
        answer = requests.ask(group)
        if answer is not None:
            flying.remove(group)
            made |= answer
        elif failing and order.random() < 0.2:
            requests.give_up(group)
            failing -= 1
            flying.remove(group)
            waiting.append(group)
    assert sorted(made) == list(range(clip.outputs))
    check(clip, made)


def test_smaller_tiles_for_one_request_start_the_others_again() -> None:
    """Memory runs out while others wait for frames: their states are of the old tiles."""

    class Small(Recurrence):
        def reconstruct(self, timestep: Any, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
            if timestep.image.shape[-1] > 128:
                raise OutOfMemoryError("no room")
            return super().reconstruct(timestep, past, future)

    clip = Clip(frames=61, carry=True)
    network = Small()
    made = Recurrent(pipeline(grid(clip), (256, 1), receptive_field=0), every=3, memory=1 << 20)
    requests = Requests(clip, made, network)
    requests.width = 256
    assert requests.ask(17) is None  # on its way back
    while not network.calls["forward"]:
        assert requests.ask(12) is None
    found = requests.fetch(0)
    assert len(made.tiles) > 1
    for group in (12, 17):
        found |= requests.fetch(group)
    check(clip, found)


# Windows around a frame


class Neighbors:
    """Frames whose pixels are their number -> the numbers that it was given. Counts what it encodes."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, frame: torch.Tensor) -> int:
        self.encoded.append(int(frame[0, 0, 0, 0]))
        return self.encoded[-1]

    def reconstruct(self, window: list[int]) -> torch.Tensor:
        return torch.tensor(window, dtype=torch.float32)[None, :, None, None]


def around(group: int, frames: int, cuts: set[int], both: bool, made: Sliding, network: Any) -> list[int]:
    """What a frame is made of, its frames fetched as they are asked for."""
    half = made.size // 2
    held = set(range(max(0, group - half), min(frames, group + half + 1)))
    work = None
    while True:
        told = {i for i in cuts if i in held or (both and i + 1 in held)}
        frames = Held(frozenset(held), frozenset(told), lambda n: torch.full((3, 1, 2), float(n)))
        try:
            if work is None:
                work = made.render(network, group, frames)
                need = next(work)
            else:
                need = work.send(frames)
        except StopIteration as end:
            return [int(number) for number in end.value.images[group][:, 0, 0]]
        assert need.frames
        assert not held.intersection(need.frames)
        held.update(need.frames)


@settings(max_examples=200)
@given(
    frames=st.integers(1, 30),
    cuts=st.frozensets(st.integers(0, 28), max_size=6),
    size=st.sampled_from([1, 3, 5, 7]),
    ends=st.sampled_from(ENDS),
    both=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_the_window_around_a_frame_follows_from_its_scene(
    frames: int, cuts: frozenset[int], size: int, ends: Ends, both: bool, order: random.Random
) -> None:
    """However much of the scene is known when the frame is asked for, and whichever side of a cut tells it."""
    inside = {i for i in cuts if i < frames - 1}
    network = Neighbors()
    made = Sliding(pipeline(Grid(frames=frames, window=1), window=size, ends=ends))
    numbers = list(range(frames))
    order.shuffle(numbers)
    for frame in numbers:
        found = around(frame, frames, inside, both, made, network)
        first = max((i + 1 for i in inside if i < frame), default=0)
        scene = range(first, min((i + 1 for i in inside if i >= frame), default=frames))
        long = len(scene) >= shortest(size, ends)
        assert found == neighbors(frame, scene, size, ends if long else "replicate")
        assert set(found) <= set(scene)


@pytest.mark.parametrize("ends", ENDS)
def test_in_order_each_frame_is_encoded_once(ends: Ends) -> None:
    network = Neighbors()
    made = Sliding(pipeline(Grid(frames=40, window=1), window=5, ends=ends))
    for frame in range(40):
        around(frame, 40, {6, 9, 30}, True, made, network)
        assert len(made._encoded) <= 9
    assert sorted(network.encoded) == list(range(40))


# Faults that must be seen


def faulty(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    from vs_sr.engine.scheduler import recurrent, stream

    if fault == "the state of the last call":
        last: dict[str, Any] = {}
        original = recurrent.Recurrent._enter

        def enter(self: Recurrent, window: int, states: Any) -> None:
            last["states"] = states
            original(self, window, states)

        def known(self: Recurrent, window: int, held: Held | None = None) -> Any:
            return last.get("states", self._zero)

        monkeypatch.setattr(recurrent.Recurrent, "_enter", enter)
        monkeypatch.setattr(recurrent.Recurrent, "_known", known)
    elif fault == "the shared frame integrated twice":
        original_runs = recurrent.windows.runs

        def runs(*arguments: Any) -> Any:
            from dataclasses import replace

            found = original_runs(*arguments)
            run = found[-1]
            found[-1] = replace(run, own=min(run.own + 1, len(run.timesteps)))
            return found

        monkeypatch.setattr(recurrent.windows, "runs", runs)
        monkeypatch.setattr(
            stream.Stream,
            "advance",
            lambda self, network, run, state, border, image: _advance(self, network, run, state, image),
        )


def _advance(self: Any, network: Any, run: Any, state: Any, image: Any) -> Any:
    for t in run.timesteps[: run.own]:
        state = network.forward_step(self._timestep(network, run, t, image), state)
    return state


@pytest.mark.parametrize("fault", ["the state of the last call", "the shared frame integrated twice"])
def test_planted_faults_are_seen(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    faulty(monkeypatch, fault)
    clip = Clip(frames=31, carry=True)
    requests = Requests(clip, scheduler(clip))
    made: dict[int, torch.Tensor] = {}
    for group in (4, 2, 3, 5):
        made |= requests.fetch(group)
    with pytest.raises(AssertionError, match="assert"):
        check(clip, made)
