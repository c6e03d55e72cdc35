"""torch, loaded with threads that sleep where they wait. Modules that may be the first to need it take it from here."""

from vs_sr import threads

with threads.asleep():
    import torch

__all__ = ["torch"]
