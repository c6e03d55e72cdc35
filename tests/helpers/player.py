"""mpv as a host of scripts: what its manual tells of the video filter ``vapoursynth`` (DOCS/man/vf.rst).

The script finds a clip ``video_in`` of variable rate and of a length that is not known, so a very high one. Its
frames are those after the last seek, numbered from 0: a seek loads the script again. Films are decoded in order: what
lies ``buffered * concurrent`` frames and more behind the newest one cannot be had again, and asking for it is an
error. So is, here, asking for what lies beyond the film's end. ``concurrent`` frames are asked for at the same time.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from concurrent.futures import Future
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import vapoursynth as vs

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator
    from pathlib import Path

TIMEOUT = 60
"""Seconds after which a frame is taken to hang."""


class Player:
    """Plays a film through a script.

    Args:
        script: the ``.vpy`` file.
        film: its frames, any clip.
        duration: seconds that a frame of the film is shown.
        start: the frame that the film is played from.
        length: what the script is told in place of the film's length.
        buffered: mpv's option ``buffered-frames``.
        concurrent: mpv's option ``concurrent-frames``.
        user_data: mpv's option ``user-data``.
    """

    def __init__(
        self,
        script: Path,
        film: vs.VideoNode,
        duration: Callable[[int], Fraction],
        *,
        start: int = 0,
        length: int = 2**31 - 1,
        buffered: int = 4,
        concurrent: int = 4,
        user_data: str = "",
    ) -> None:
        self.film, self.duration, self.start = film, duration, start
        self.window = buffered * concurrent
        self.concurrent = concurrent
        self.deepest = 0
        """How far behind the newest frame one was asked for."""
        self._newest = -1
        self._lock = threading.Lock()
        blank = film.std.BlankClip(length=length, fpsnum=0, fpsden=1, keep=True)
        decode: Callable[[], Any] = weakref.WeakMethod(self._decode)  # or the player and its clip would hold each other
        source = blank.std.FrameEval(lambda n: decode()(n))
        variables = {
            "video_in": source,
            "video_in_dw": film.width,
            "video_in_dh": film.height,
            "container_fps": 23.976,
            "display_fps": 60.0,
            "display_res": [1920, 1080],
            "user_data": user_data,
        }
        vs.clear_outputs()
        exec(compile(script.read_text(encoding="utf-8"), script, "exec"), {"__name__": "__vapoursynth__"} | variables)
        self.clip = vs.get_output(0).clip
        vs.clear_outputs()

    def _decode(self, n: int) -> vs.VideoNode:
        with self._lock:
            self._newest = max(self._newest, n)
            behind = self._newest - n
            self.deepest = max(self.deepest, behind)
        if behind >= self.window:
            raise vs.Error(f"frame {n} is no longer in the buffer")
        at = self.start + n
        if at >= self.film.num_frames:
            raise vs.Error("end of file")
        seconds = self.duration(at)
        frame = self.film[at] * (n + 1)  # frame n of it
        return frame.std.SetFrameProps(_DurationNum=seconds.numerator, _DurationDen=seconds.denominator)

    def play(self, shuffled: random.Random | None = None) -> Generator[vs.VideoFrame]:
        """The frames in order, to the first that fails. ``shuffled``: those asked for together are so in any order."""
        waiting: deque[Future[vs.VideoFrame]] = deque()
        asked = 0
        try:
            while True:
                numbers = list(range(asked, asked + self.concurrent - len(waiting)))
                futures = {n: Future[vs.VideoFrame]() for n in numbers}
                waiting.extend(futures.values())
                asked += len(numbers)
                if shuffled:
                    shuffled.shuffle(numbers)
                for n in numbers:
                    self._ask(n, futures[n])
                try:
                    yield waiting.popleft().result(TIMEOUT)
                except vs.Error:
                    return
        finally:
            for future in waiting:  # a script is not unloaded while frames are on their way
                future.exception(TIMEOUT)

    def _ask(self, n: int, future: Future[Any]) -> None:
        def arrived(frame: vs.VideoFrame | None, error: Exception | None) -> None:
            if frame is None:
                future.set_exception(vs.Error(str(error)))
            else:
                future.set_result(frame)

        self.clip.get_frame_async(n, arrived)
