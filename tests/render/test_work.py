"""What the film tells of a result before that is made: when its frames are shown, and where scenes begin."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from helpers import networks
from helpers.films import film, scenes
from helpers.support import environment

from vs_sr.render import work
from vs_sr.render.encoding import Wish
from vs_sr.render.work import Order, Script

if TYPE_CHECKING:
    from pathlib import Path

TIMES = (0, 40, 160, 200, 300, 340, 460, 500)
TWICE = b"import vapoursynth as vs\nvs.core.std.Interleave([clip, clip]).set_output()\n"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])


@pytest.mark.parametrize("times", [None, TIMES], ids=["even", "varying"])
@pytest.mark.parametrize("slow_motion", [False, True])
@pytest.mark.parametrize("start", [None, Fraction(1, 10)])
def test_when_frames_are_shown(
    times: tuple[int, ...] | None, slow_motion: bool, start: Fraction | None, tmp_path: Path
) -> None:
    source = film(tmp_path / "in.mkv", len(TIMES), times=times)
    script = Script(path=tmp_path / "no.vpy", text=TWICE)
    made = work.prepare(Order(film=source, script=script, slow_motion=slow_motion, start=start, wish=Wish()))
    at = made.start
    for n, frame in enumerate(made.clip.frames(close=True)):
        assert made.clock(n) == at, n
        at += Fraction(frame.props["_DurationNum"], frame.props["_DurationDen"]) * made.cut.stretch


@pytest.mark.parametrize("model", ["ZoomingSlowMo:multi=2", "ZoomingSlowMo:fps_num=60"])
def test_where_scenes_begin(model: str, tmp_path: Path) -> None:
    source = scenes(tmp_path / "in.mkv", 10, cut=4)
    order = Order(film=source, models=(f"{model},weights={networks.null_weights()},device_id=-1",), wish=Wish())
    made = work.prepare(order)
    wanted = [n for n, frame in enumerate(made.clip.frames(close=True)) if frame.props.get("_SceneChangePrev")]
    assert len(wanted) == 1
    assert [n for n, fresh in made.marks(0) if fresh] == wanted
    assert [n for n, fresh in made.marks(wanted[0] - 1) if fresh] == wanted
    assert not [n for n, fresh in made.marks(wanted[0] + 10) if fresh]


@pytest.mark.parametrize("model", ["EDSR:scale=2", "ZoomingSlowMo:sc=0"])
def test_where_none_is_looked_for(model: str, tmp_path: Path) -> None:
    source = scenes(tmp_path / "in.mkv", 10, cut=4)
    assert list(work.prepare(Order(film=source, models=(model,), wish=Wish()), device=()).marks(0)) == []
