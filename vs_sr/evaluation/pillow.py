"""Pillow, which not everybody has: drawing, and its own rule of resampling."""

from __future__ import annotations

from vs_sr.errors import VsSrError


def require(what: str) -> None:
    """Refuse early where Pillow is missing.

    Args:
        what: needs it, for the message.

    Raises:
        VsSrError: it is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise VsSrError(f"{what} needs pillow; install it with: pip install 'vs-sr[demo]'") from None
