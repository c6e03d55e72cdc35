"""The models that are not among the built-in filters' defaults, and the hints that their files need."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vs_sr.spec import Model

MODULES = ("a2n", "basicvsr", "edsr", "edvr", "esrgan", "mdsr", "srcnn", "srgan", "srresnet", "vdsr", "zooming_slow_mo")

HINTS: Mapping[str, Mapping[str, str]] = {
    "a2n_x2": {"scale": "2", "range": "1"},
    "a2n_x3": {"scale": "3", "range": "1"},
    "a2n_x4": {"range": "1"},
    "a2n_m_x4_keys": {"range": "1"},
    "mdsr_baseline_scale2": {"scale": "2"},
    "mdsr_baseline_scale3": {"scale": "3"},
    "mdsr_baseline_scale4": {"scale": "4"},
    "mdsr_large_keys": {"scale": "4"},
    "rrdbnet_old_x2_nb3": {"scale": "2"},
    "rrdbnet_old_x3_nb3": {"scale": "3"},
}
"""By the network of ``golden_image/keys``: what no tensor tells."""


@functools.cache
def models() -> Mapping[str, Model]:
    """Every model of the house by name, whether it is a filter already or not."""
    found: dict[str, Model] = {}
    for module in MODULES:
        for model in importlib.import_module(f"vs_sr.models.{module}").vs_sr_models():
            found[model.name] = model
    return found
