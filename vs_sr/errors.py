"""The error tree.

    VsSrError
    ├── ArgumentError      an argument or a clip that the filter cannot take (also a ValueError)
    ├── WeightsError       a weights file: missing, damaged, or not of this architecture (also a ValueError)
    │   └── AmbiguousError a weights file that leaves something open, for which it takes a hint
    ├── DeviceError        the device asked for is absent or cannot do the work (also a RuntimeError)
    ├── PluginError        an extension package that cannot be loaded (also a RuntimeError)
    └── FrameError         a frame that cannot be processed, or cannot be made (also a RuntimeError)

A message states the value, the choices and the way out. The filter's name is put in front in one place,
where the error becomes a ``vapoursynth.Error`` (``vs_sr._bridge``).
"""

_LONGEST = 500


def bounded(text: str) -> str:
    """A message as people can read it: of at most 500 characters, the middle left out, and printable."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 160]} [...] {text[-150:]}"
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def described(error: BaseException) -> str:
    """What an error of somebody else's code says, on one line, its type before it unless it is one of those below."""
    text = str(error) if isinstance(error, VsSrError) else f"{type(error).__name__}: {error}"
    return bounded(" ".join(text.split()))


class VsSrError(Exception):
    """Base of every error that vs_sr raises on purpose."""

    def __str__(self) -> str:
        return bounded(super().__str__())


class ArgumentError(VsSrError, ValueError):
    """An argument or a clip that the filter cannot take."""


class WeightsError(VsSrError, ValueError):
    """A weights file that is missing, damaged, or not of this architecture."""


class AmbiguousError(WeightsError):
    """A weights file that leaves something open which no tensor decides.

    Args:
        ambiguity: what is open.
        key: of the hint: "scale", "range", ...
        choices: the possible values; none: a number.
    """

    def __init__(self, ambiguity: str, key: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(ambiguity, key, choices)
        self.key = key
        self.choices = choices

    @property
    def hints(self) -> tuple[str, ...]:
        """The possible ones, as ``key=value``."""
        return tuple(f"{self.key}={choice}" for choice in self.choices) or (f"{self.key}=...",)

    @property
    def ambiguity(self) -> str:
        """What is open."""
        return str(self.args[0])

    def __str__(self) -> str:
        return bounded(f"{self.ambiguity}; say which with {' or '.join(self.hints)}")


class DeviceError(VsSrError, RuntimeError):
    """The device asked for is absent or cannot do the work."""


class PluginError(VsSrError, RuntimeError):
    """An extension package that cannot be loaded, or that registers a name twice."""


class FrameError(VsSrError, RuntimeError):
    """A frame that cannot be processed (combed, for example), or cannot be made."""
