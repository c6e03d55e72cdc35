"""The grid of windows: properties that hold for every clip length, window and pattern of cuts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from vs_sr.windows import PARTS, Grid, Numbers, Run, passes, runs


def _grid(rate: tuple[int, int, int | None], **more: int) -> Grid:
    return Grid(multi=rate[0], density=rate[1], per=rate[2], **more)


TARGETS = [(1, 1), (2, 1), (8, 1), (5, 2), (1001, 400), (6, 5), (8, 5), (1000, 999), (101, 13), (7, 1), (2500, 999)]


sequences = st.builds(
    _grid,
    frames=st.integers(1, 40),
    window=st.integers(2, 9),
    rate=st.sampled_from(
        [(1, 1, None), (1, 2, None), (2, 2, None), (4, 2, None), (8, 2, None), (1, 4, None), (2, 4, None)]
        + [(multi, 2, per) for multi, per in TARGETS]
    ),
    lookahead=st.integers(0, 5),
)
grids = sequences | st.builds(Grid, frames=st.integers(1, 40), window=st.just(1))


def _parts(grid: Grid, frame: int) -> list[int]:
    return grid.parts(range(frame, frame + 1))


def _rate(grid: Grid) -> Fraction:
    return Fraction(grid.multi, grid.per or 1)


@given(grids)
def test_every_input_has_outputs_in_order(grid: Grid) -> None:
    shown = [output for frame in range(grid.frames) for output in grid.shown(frame)]
    assert shown == list(range(ceil(grid.frames * _rate(grid)))), "those that are shown before the clip's end"
    for frame in range(grid.frames):
        assert grid.shown(frame)
        assert {grid.place(output)[0] for output in grid.shown(frame)} == {frame}
        assert len(_parts(grid, frame)) <= grid.most


def test_films_at_the_rates_of_screens() -> None:
    """24 to 60: two and a half frames for each, and five timesteps, where a rate of 192 has eight."""
    grid = Grid(frames=5, window=4, multi=5, per=2, density=2)
    assert [grid.place(output) for output in range(6)] == [(0, 0), (0, 3), (0, 6), (1, 2), (1, 5), (2, 0)]
    assert [_parts(grid, frame) for frame in (0, 1)] == [[0, 2, 3, 4, 6], [0, 2, 4, 5, 6]]


@given(grids)
def test_every_output_belongs_to_one_window(grid: Grid) -> None:
    outputs = [n for group in range(grid.groups) for n in grid.outputs(group)]
    assert outputs == list(range(ceil(grid.frames * _rate(grid))))
    assert [grid.group(n) for n in outputs] == [g for g in range(grid.groups) for _ in grid.outputs(g)]


@given(grids)
def test_windows_advance_by_a_fixed_step_and_share_one_frame(grid: Grid) -> None:
    for group in range(grid.groups):
        inputs = grid.inputs(group)
        assert inputs.start == group * grid.step
        assert len(inputs) == grid.window or group == grid.groups - 1
        if group:
            assert inputs.start == grid.inputs(group - 1).stop - grid.share
            assert len(inputs) > grid.share, "there is no window of the shared frame alone"


@given(grids, st.sets(st.integers(0, 40)))
def test_runs_give_each_output_once_and_pass_no_cut(grid: Grid, cuts: set[int]) -> None:
    for group in range(grid.groups):
        parts = runs(grid, group, cuts)
        assert [output for run in parts for output, _ in run.outputs] == list(grid.outputs(group))
        for run in parts:
            assert run.fresh
            frames = sorted(set(run.inputs))
            assert frames == list(range(frames[0], frames[-1] + 1))
            assert not cuts.intersection(frames[:-1])
            assert len(run.inputs) > grid.share
            assert set(frames) <= set(grid.seen(group))
            assert list(run.timesteps) == sorted(set(run.timesteps))
            for output, index in run.outputs:
                assert 0 <= index < run.own <= len(run.timesteps)
                at = floor(output / _rate(grid) * PARTS + Fraction(1, 2))  # the nearest
                frame = min(at // PARTS, grid.frames - 1)
                last = frame in cuts or frame == grid.frames - 1
                assert run.timesteps[index] == (frame * PARTS if last else at) - frames[0] * PARTS


def test_lengths_around_the_window() -> None:
    def inputs(frames: int) -> list[list[int]]:
        grid = Grid(frames=frames, window=4, multi=2)
        return [list(grid.inputs(group)) for group in range(grid.groups)]

    assert inputs(1) == [[0]]
    assert inputs(2) == [[0, 1]]
    assert inputs(4) == [[0, 1, 2, 3]]
    assert inputs(5) == [[0, 1, 2, 3], [3, 4]]
    assert inputs(7) == [[0, 1, 2, 3], [3, 4, 5, 6]]


def test_a_cut_at_the_shared_frame() -> None:
    grid = Grid(frames=7, window=4, multi=2, density=2, carry=True)
    outputs = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4))
    timesteps = (0, 4, 8, 12, 16)
    assert runs(grid, 0, {2}) == [Run(inputs=(0, 1, 2), timesteps=timesteps, own=5, fresh=True, outputs=outputs)]
    first, second = runs(grid, 1, {3})
    assert first == Run(inputs=(3, 3), timesteps=(0, 4, 8), own=1, fresh=False, outputs=((6, 0), (7, 0)))
    assert second.inputs == (4, 5, 6)
    assert second.fresh


@given(sequences, st.sets(st.integers(0, 38)))
def test_every_position_is_integrated_once(grid: Grid, cuts: set[int]) -> None:
    """Those between the frames of two scenes do not exist; no others are left out."""
    stepped = []
    for group in range(grid.groups):
        for run in runs(grid, group, cuts):
            stepped += [run.inputs[0] * PARTS + at for at in run.timesteps[: run.own]]
    frames = range(grid.frames - 1)
    between = [i * PARTS + part for i in frames for part in _parts(grid, i) if part == 0 or i not in cuts]
    assert stepped == [*between, (grid.frames - 1) * PARTS]


@given(sequences)
def test_timesteps_are_found_by_halves_and_no_others(grid: Grid) -> None:
    """Each has its two neighbors, and is shown, always there, or one of those by which these are found."""
    for frame in range(grid.frames):
        parts = _parts(grid, frame)
        assert parts[0] == 0
        wanted = {grid.place(output)[1] for output in grid.shown(frame)} | set(range(0, PARTS, PARTS // grid.density))
        assert wanted <= set(parts)
        asked = set(wanted)
        for part in sorted(parts[1:], key=lambda part: part & -part):  # the last halves first
            half = part & -part
            assert {part - half, part + half} <= {*parts, PARTS}
            assert part in asked
            asked |= {part - half, part + half}


@given(sequences, st.sets(st.integers(0, 38)), st.integers(0, 7), st.integers(0, 3))
def test_states_begin_anew_at_cuts_and_segments_alone(grid: Grid, cuts: set[int], segment: int, past: int) -> None:
    grid = replace(grid, carry=True, segment=segment, past=past)
    cuts = {i for i in cuts if i < grid.frames - 1}
    for group in range(grid.groups):
        for run in runs(grid, group, cuts):
            first = run.inputs[0]
            begins = first == group * grid.step
            segments = begins and segment and (past + group) % segment == 0
            assert run.fresh == (not begins or bool(segments) or past + group == 0 or first - 1 in cuts)
        assert passes(grid, group, cuts) == (len(runs(grid, group, cuts)) == 1 and group * grid.step - 1 not in cuts)
        assert grid.fresh(group) or segment == 0 or (past + group) % segment < segment


@given(sequences, st.sets(st.integers(0, 40)))
def test_the_backward_direction_sees_the_lookahead_and_no_further(grid: Grid, cuts: set[int]) -> None:
    for group in range(grid.groups):
        assert len(grid.seen(group)) <= grid.window + grid.lookahead + grid.share
        seen = {frame for run in runs(grid, group, cuts) for frame in run.inputs}
        assert seen <= set(grid.seen(group))
        if not cuts:
            assert seen == set(grid.seen(group))


@given(sequences, st.sets(st.integers(0, 40)), st.sampled_from([1, 2]))
def test_without_repeated_frames_runs_are_what_they_were(grid: Grid, cuts: set[int], repeats: int) -> None:
    for group in range(grid.groups):
        assert runs(replace(grid, repeats=repeats), group, cuts) == runs(grid, group, cuts)


def _drawings(lengths: list[int], frames: int) -> dict[int, range]:
    found: dict[int, range] = {}
    first = 0
    for length in lengths:
        drawing = range(first, min(first + length, frames))
        found |= dict.fromkeys(drawing, drawing)
        first += length
    return found


@given(sequences, st.lists(st.integers(1, 4), min_size=40, max_size=40), st.sampled_from([1, 2]))
def test_drawings_leave_every_window_its_outputs_and_its_bounds(grid: Grid, lengths: list[int], repeats: int) -> None:
    """Each output once, in time order; no more timesteps than are planned for, no frame further off than is kept."""
    grid = replace(grid, repeats=repeats, carry=True)
    drawings = _drawings(lengths, grid.frames)
    for group in range(grid.groups):
        [run] = runs(grid, group, (), drawings)
        assert [output for output, _ in run.outputs] == list(grid.outputs(group))
        assert [index for _, index in run.outputs] == sorted(index for _, index in run.outputs)
        assert all(index < run.own for _, index in run.outputs)
        assert len(run.timesteps) <= grid.timesteps
        assert all(drawings[frame][-1] == frame for frame in run.inputs)
        beyond = [frame for frame in run.inputs if frame >= (group + 1) * grid.step]
        assert set(beyond) <= set(grid.near(group))
        assert run.border is None or run.border <= run.own


def test_a_drawing_on_a_border_is_divided_or_held() -> None:
    """Frames 2 to 4 show one drawing; the window's border is 3."""
    drawings = dict.fromkeys(range(2, 5), range(2, 5))
    grid = Grid(frames=8, window=4, multi=2, density=2, carry=True, repeats=1)
    [first], [second] = runs(grid, 0, (), drawings), runs(grid, 1, (), drawings)
    assert first.inputs == (0, 1, 4, 5)
    assert first.timesteps == (0, 4, 8, 12, 16, 17, 18, 19, 20, 21, 22, 23, 24)
    assert (first.own, first.border) == (7, 7)
    assert second.timesteps[:5] == (3, 4, 5, 6, 7)
    assert second.outputs[:4] == ((6, 0), (7, 1), (8, 2), (9, 4))
    [first], [second] = (runs(replace(grid, repeats=2), group, (), drawings) for group in (0, 1))
    assert (first.timesteps, first.own, first.border) == ((0, 4, 8, 12, 16, 20, 24), 5, 4)
    assert second.timesteps[:3] == (0, 4, 8)
    assert second.outputs[:4] == ((6, 0), (7, 0), (8, 0), (9, 1))


def test_a_huge_clip_costs_nothing() -> None:
    grid = Grid(frames=2**31 - 1, window=4, multi=2)
    assert grid.group(2**31 - 2) == (2**31 - 2) // 6
    assert grid.inputs(grid.groups - 1).stop == 2**31 - 1


@given(st.lists(st.integers(0, 30)))
def test_a_set_of_numbers_knows_where_their_runs_begin(added: list[int]) -> None:
    numbers = Numbers()
    for number in added:
        numbers.add(number)
    for number in range(-1, 32):
        first = number
        while first - 1 in added:
            first -= 1
        assert numbers.first(number) == (first if number in added else None)
    assert len(numbers._starts) == sum(number - 1 not in added for number in set(added)), "one entry a run"
