"""The plan of a filter: on which device it runs, and in which tiles. Made when the first frame is asked for.

Tiles follow from the memory that filters made before have left. So plans are made in the order in which the filters
were, whichever is asked for a frame first: a script gives the same tiles each time.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from vs_sr import tiles
from vs_sr.engine import budget, device
from vs_sr.errors import VsSrError
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from vs_sr.engine.pipeline import Pipeline

_lock = threading.Lock()
_waiting: list[weakref.ref[Plan]] = []
"""Plans that are still to be made, in order."""


class Plan:
    """Where the pipelines of a filter, one for each of its streams, are run."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._wished = pipeline
        self._made: Pipeline | None = None
        with _lock:
            _waiting.append(weakref.ref(self))

    def pipeline(self) -> Pipeline:
        """The pipeline with all that the device decides.

        Raises:
            DeviceError: there is no such device.
        """
        with _lock:
            while self._made is None and _waiting:
                plan = _waiting.pop(0)()
                if plan is self:
                    break
                if plan is not None:
                    try:
                        plan._made = plan._make()
                    except VsSrError:  # an error of its own, when it is asked for a frame
                        continue
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Pipeline:
        wished = self._wished
        options, variant = wished.options, wished.variant
        chosen = device.choose(options.device_id)
        made = replace(
            wished,
            device=chosen,
            precision=device.choose_precision(
                options.precision, chosen, variant.precisions, float_clip=wished.float_clip
            ),
            converts=device.converts(chosen),
            overlap=options.overlap,
        )
        per_pixel = tiles.estimate(
            scale=variant.scale,
            channels=variant.channels,
            bytes_per_value=4 if made.precision == "fp32" else 2,
            timesteps=made.timesteps,
        )
        shares = budget.of(chosen)
        if options.tilesize is not None:
            made = replace(made, tile=options.tilesize)
        elif made.divisible:
            allowed = shares.allowance(options.num_streams)
            made = replace(made, tile=tiles.plan(wished.size, per_pixel, allowed))
        width, height = max(made.tile_sizes(), key=lambda size: size[0] * size[1])
        features = width * height * per_pixel
        shares.features.take(self, features * options.num_streams)
        count, how = len(made.tiles()), "whole"
        if count > 1:
            field = variant.receptive_field
            sees = "the whole frame: tiles change its output" if field is None else f"{field} pixels around each"
            how = f"in {count} tiles of {width}x{height} (the network sees {sees})"
        log_once(
            f"{made.model.name}: frames of {wished.size[0]}x{wished.size[1]} are run {how} on {chosen} in "
            f"{made.precision}, with about {features >> 20} MiB of features"
            + (", and converted there" if made.converts else "")
        )
        return made
