"""Reading the pickles inside PyTorch files without running anything that they ask for.

A pickle is a program: it may import any function and call it. Here every name that it imports becomes an inert
stand-in of ours, which stores what it is called with and does nothing; only the handful of names that describe
tensors get a meaning, and that meaning is "a tensor of this shape lies at that place of the file". So a whole
pickled module, of whatever class, is read as a tree of tensors, and a malicious file as a tree of stand-ins.

Before a pickle is read its opcodes are checked: no extension registry, no index that would make the reader
reserve memory out of proportion to the file.
"""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from vs_sr.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BYTES = 64 << 20
"""Of one pickle; the largest state dicts have 1 MB of it, the numbers being outside."""
_REFUSED = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
_TABLES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})

DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
"""Storage class to the type of its numbers."""


@dataclass(frozen=True)
class StorageRef:
    """Numbers in the file."""

    key: str
    """What the file calls the storage."""
    dtype: str
    count: int
    """In elements."""
    offset: int = 0
    """Of the first element, counted from the beginning of what ``key`` names."""


@dataclass(frozen=True)
class TensorRef:
    """A tensor in the file: a view of a storage."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        """A parameter's state (whether it needs a gradient, and hooks): of no use here."""


class Inert:
    """Stands for an object of any class: keeps what the file says of it."""

    state: object

    def __new__(cls, *args: object, **kwargs: object) -> Inert:
        """Takes whatever the file passes; pickle may leave out ``__init__``."""
        self = object.__new__(cls)
        self.state = None
        return self

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """What pickle calls to fill a list."""

    def extend(self, values: object) -> None:
        """What pickle calls to fill a list."""

    def __call__(self, *args: object, **kwargs: object) -> Inert:
        """Another stand-in: calling one does nothing."""
        return Inert(*args)


class _Dict(dict[Any, Any]):
    """An ordered or default dictionary; attributes that the file hangs on it are dropped."""

    def __init__(self, *args: object) -> None:
        pairs = args[0] if args else ()
        super().__init__(pairs if isinstance(pairs, dict | list | tuple) else ())

    def __setstate__(self, state: object) -> None:
        pass


class _Named:
    """A function of ours that the file may call under a name of torch's."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, *args: object) -> object:
        return self.function(*args)

    def __setstate__(self, state: object) -> None:
        raise WeightsError("the pickle sets the state of a function")


@dataclass(frozen=True)
class _StorageType:
    dtype: str

    def __setstate__(self, state: object) -> None:
        raise WeightsError("the pickle sets the state of a storage class")


def _ints(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(type(v) is int and v >= 0 for v in values):
        raise WeightsError(f"a tensor's shape or stride is {values!r}")
    return tuple(values)


def _tensor(storage: object, offset: object, shape: object, stride: object, *rest: object) -> TensorRef:
    if not isinstance(storage, StorageRef) or type(offset) is not int or offset < 0:
        raise WeightsError(f"a tensor has storage {storage!r} and offset {offset!r}")
    sizes, steps = _ints(shape), _ints(stride)
    if len(sizes) != len(steps):
        raise WeightsError(f"a tensor has shape {sizes} and stride {steps}")
    last = offset + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    count = 1
    for n in sizes:
        count *= n
    # count: a stride of 0 would make a tensor of any size out of one number
    if count and (last >= storage.count or count > storage.count):
        raise WeightsError(f"a tensor of shape {sizes} does not fit its storage of {storage.count} numbers")
    return TensorRef(storage, offset, sizes, steps)


def _typed_tensor(storage: object, *args: object) -> TensorRef:
    """As torch saves types without a storage class of their own: bytes, and the type by name."""
    dtype = getattr(args[5], "name", "") if len(args) > 5 else ""
    raise WeightsError(f"tensors of type {dtype or 'unknown'} are not known")


def _wrapped(function: object, kind: object, arguments: object, state: object) -> object:
    """A tensor with attributes: the attributes are dropped."""
    if isinstance(function, _Named) and isinstance(arguments, tuple):
        return function(*arguments)
    return Inert()


_NAMED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): _Dict,
    ("collections", "defaultdict"): _Dict,
    ("torch._utils", "_rebuild_tensor"): _Named(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Named(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Named(_typed_tensor),
    ("torch._utils", "_rebuild_parameter"): _Named(lambda tensor, *_: tensor),
    ("torch._utils", "_rebuild_parameter_with_state"): _Named(lambda tensor, *_: tensor),
    ("torch.nn.parameter", "Parameter"): _Named(lambda tensor, *_: tensor),
    ("torch._tensor", "_rebuild_from_type_v2"): _Named(_wrapped),
    ("torch", "Size"): _Named(lambda sizes=(), *_: tuple(sizes)),
    ("copyreg", "_reconstructor"): _Named(lambda kind, *_: kind()),
    ("copy_reg", "_reconstructor"): _Named(lambda kind, *_: kind()),
}
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: object) -> None:
        super().__init__(file, encoding="latin-1")  # type: ignore[arg-type]  # what Python 2 wrote decodes too
        self.storages: dict[str, StorageRef] = {}
        self._stand_ins: dict[tuple[str, str], type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Never imports: a name that describes tensors, or else a class of its own that does nothing."""
        if (module, name) in _NAMED:
            return _NAMED[module, name]
        if module in _STORAGE_MODULES and name in DTYPES:
            return _StorageType(DTYPES[name])
        if (module, name) not in self._stand_ins:
            self._stand_ins[module, name] = type("Inert", (Inert,), {"name": f"{module}.{name}"})
        return self._stand_ins[module, name]

    def persistent_load(self, pid: Any) -> object:
        """Storages become references; classes whose source text is in the file become stand-ins."""
        match pid:
            case ("storage", _StorageType(dtype=dtype), key, _, int(count), *view) if count >= 0:
                root = StorageRef(str(key), dtype, count)
                self.storages.setdefault(root.key, root)
                match view:
                    case [(_, int(offset), int(size))]:
                        if not 0 <= offset <= offset + size <= count:
                            raise WeightsError(f"storage {key} has a view outside itself")
                        return StorageRef(root.key, dtype, size, offset)
                return root
            case ("module", kind, *_):
                return kind
        raise WeightsError(f"refers to {pid!r} outside the pickle, which is not known")


class _Bounded:
    """A file that never gives more than it has: an announced length is checked before memory is reserved."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._end = end

    def read(self, size: int) -> bytes:
        if size < 0 or size > self._end - self._file.tell():
            raise EOFError(f"{size} bytes announced")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(min(_MAX_BYTES, self._end - self._file.tell()))

    def tell(self) -> int:
        return self._file.tell()


@dataclass
class Pickle:
    """What a pickle holds."""

    root: object
    storages: dict[str, StorageRef] = field(default_factory=dict)
    """Every storage that it refers to, by key."""


def load(file: BinaryIO, end: int) -> Pickle:
    """Read the pickle at the file's position, and leave the file behind it.

    Args:
        file: opened for reading, seekable.
        end: where the file (or its part) ends.

    Raises:
        WeightsError: it is damaged, or asks for something that no weights file needs.
    """
    start = file.tell()
    try:
        _check(_Bounded(file, min(end, start + _MAX_BYTES)), start)
        file.seek(start)
        unpickler = _Unpickler(_Bounded(file, end))
        return Pickle(unpickler.load(), unpickler.storages)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise WeightsError(f"its pickle cannot be read: {type(error).__name__}: {error}") from None


def _check(file: _Bounded, start: int) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        if opcode.name in _REFUSED:
            raise WeightsError(f"its pickle uses the opcode {opcode.name}, which no weights file needs")
        if opcode.name in _TABLES and isinstance(argument, int) and argument > count:
            raise WeightsError("its pickle numbers its objects beyond their count")
