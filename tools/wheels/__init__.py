"""Wheels for every platform that VapourSynth has, built on one machine: ``make wheels``."""
