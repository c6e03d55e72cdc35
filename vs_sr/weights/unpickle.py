"""Reading the pickles inside PyTorch files without running anything that they ask for.

A pickle is a program for a machine with a stack. This is such a machine, with no way out of it: names are words,
calling one makes an inert stand-in, and only the handful of names that describe tensors mean something, namely "a
tensor of this shape lies at that place of the file". So a whole pickled module, of whatever class, is read as a tree of
tensors, and a malicious file as a tree of stand-ins.

Every opcode, and every object that one takes in, costs a step of the file's budget. What a pickle has made is never
hashed, compared, or shown, but for short words and numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from vs_sr.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vs_sr.weights.budget import Budget

_LONGEST = 4096
"""Bytes of a word; a longer one (source code, an array) is passed over and means nothing."""
_MAX_RANK = 8
"""Dimensions of a tensor; convolutions in three dimensions have five."""

STORAGES = {
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
_STORAGE_TYPES = {
    f"{module}.{name}": dtype for module in ("torch", "torch.cuda", "torch.storage") for name, dtype in STORAGES.items()
}


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Numbers in the file."""

    key: str
    """What the file calls the storage."""
    dtype: str
    count: int
    """In elements."""
    offset: int = 0
    """Of the first element, counted from the beginning of what ``key`` names."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor in the file: a view of a storage."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Inert:
    """Stands for an object of any class: keeps the state that the file gives it, which a module's tensors are in."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: object = None


class Name(str):
    """A name that the file imports: a word, nothing is looked up."""

    __slots__ = ()


@dataclass
class Pickle:
    """What a pickle holds."""

    root: object
    storages: dict[str, StorageRef] = field(default_factory=dict)
    """Every storage that it refers to, by key."""


def load(file: BinaryIO, end: int, budget: Budget) -> Pickle:
    """Read the pickle at the file's position, and leave the file after it.

    Args:
        file: opened for reading, seekable.
        end: where the file (or its part) ends.
        budget: of the file.

    Raises:
        WeightsError: it is damaged, or asks for something that no weights file needs.
    """
    machine = _Machine(file, end, budget)
    try:
        return Pickle(machine.run(), machine.storages)
    except WeightsError:
        raise
    except (IndexError, KeyError):
        problem = "it takes what it has not made"
    except (ValueError, TypeError, struct.error):
        problem = "it makes something of what does not fit"
    raise WeightsError(f"its pickle cannot be read: {problem}; a broken download?")


def _word(value: object) -> str:
    """A value in a message."""
    if isinstance(value, str | int | float | bytes | None) and len(text := repr(value)) <= 40:
        return text
    return f"a {type(value).__name__.lower()}"


class _Machine:
    def __init__(self, file: BinaryIO, end: int, budget: Budget) -> None:
        self._file = file
        self._end = end
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRef] = {}

    def run(self) -> object:
        """The object that the pickle leaves."""
        read, operations = self._file.read, {code: method.__get__(self) for code, method in _OPERATIONS.items()}
        stop = b"."
        for _ in self._budget.steps("pickle"):
            code = read(1)
            if code in operations:
                operations[code]()
            elif code == stop:
                if self._file.tell() > self._end:
                    self._cut()
                return self._stack.pop()
            elif code in _REFUSED:
                raise WeightsError(f"its pickle uses the opcode {_REFUSED[code]}, which no weights file needs")
            else:
                raise WeightsError("its pickle cannot be read: an opcode is not known; a broken download?")
        raise AssertionError  # steps() ends in an error

    # Reading

    def _cut(self) -> NoReturn:
        raise WeightsError("its pickle cannot be read: it is cut short; a broken download?")

    def _byte(self) -> int:
        return (self._file.read(1) or self._cut())[0]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._exactly(size), "little")

    def _exactly(self, size: int) -> bytes:
        self._budget.spent += 1
        raw = self._file.read(size)
        return raw if len(raw) == size else self._cut()

    def _bytes(self, size: int) -> bytes | None:
        """The bytes that follow, or None where they are too many to mean anything."""
        if size <= _LONGEST:
            self._budget.keep(size)
            return self._exactly(size)
        if size > self._end - self._file.tell():
            self._cut()
        self._budget.spend(10)
        self._file.seek(size, 1)
        return None

    def _line(self) -> str:
        self._budget.spent += 1
        raw = self._file.readline(_LONGEST + 1)
        self._budget.keep(len(raw))
        return str(raw[:-1] if raw.endswith(b"\n") else self._cut(), "latin-1")

    def _push_text(self, size: int, encoding: str = "utf-8") -> None:
        raw = self._bytes(size)
        self._stack.append(Inert() if raw is None else str(raw, encoding, "surrogateescape"))

    def _push_bytes(self, size: int) -> None:
        raw = self._bytes(size)
        self._stack.append(Inert() if raw is None else raw)

    def _push_int(self, text: str) -> None:
        value = int(text.removesuffix("L")) if len(text) <= 24 else None
        self._stack.append(Inert() if value is None else value)

    def _push_long(self, size: int) -> None:
        raw = self._bytes(size)
        self._stack.append(Inert() if raw is None or size > 16 else int.from_bytes(raw, "little", signed=True))

    # The stack

    def _marked(self) -> list[Any]:
        """What lies above the last mark."""
        self._budget.spent += 1
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def _fold(self, count: int) -> None:
        """The last objects as a tuple."""
        self._budget.spent += 1
        if count > len(self._stack):
            raise IndexError
        items = tuple(self._stack[-count:])
        self._stack[-count:] = (items,)

    def _put(self, index: int) -> None:
        if index > self._budget.spent:
            raise WeightsError("its pickle numbers its objects beyond their count")
        self._memo[index] = self._stack[-1]

    def _fill(self, pairs: Iterable[tuple[object, object]], target: object) -> None:
        """Put items into a dictionary: those with words and numbers as keys, numbers as words."""
        if type(target) is dict:
            for key, value in pairs:
                if type(key) in (str, int, Name):
                    target[str(key)] = value

    def _set_items(self, items: list[Any]) -> None:
        self._budget.spent += 1
        self._fill(zip(items[::2], items[1::2], strict=True), self._stack[-1])

    def _append(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is list:
            self._stack[-1].extend(items)

    def _dictionary(self) -> None:
        items = self._marked()
        self._stack.append({})
        self._set_items(items)

    def _frozen_set(self) -> None:
        self._marked()
        self._stack.append(Inert())

    def _list(self) -> None:
        self._budget.spent += 3
        self._stack.append([])

    # Calls

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        self._stack[-1] = self._call(self._stack[-1], arguments)

    def _new(self) -> None:
        """NEWOBJ_EX: arguments by name as well."""
        self._stack.pop()
        self._reduce()

    def _object(self) -> None:
        items = self._marked()
        self._stack.append(self._call(items[0], tuple(items[1:])))

    def _instance(self) -> None:
        name = Name(f"{self._line()}.{self._line()}")
        self._stack.append(self._call(name, tuple(self._marked())))

    def _import(self) -> None:
        self._stack.append(Name(f"{self._line()}.{self._line()}"))

    def _import_words(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError
        self._budget.keep(len(name) + len(module))
        self._stack.append(Name(f"{module}.{name}"))

    def _call(self, function: object, arguments: object) -> object:
        """What a call makes: something of the names that describe tensors, else a stand-in."""
        self._budget.spent += 3
        for _ in range(2):
            if not isinstance(function, Name) or type(arguments) is not tuple:
                return Inert()
            if function in _DICTIONARIES:
                return self._pairs(arguments[0] if arguments else ())
            if function == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
                function, _, arguments, _ = arguments  # a tensor with attributes: they are dropped
                continue
            meaning = _MEANINGS.get(function)
            return Inert() if meaning is None else meaning(*arguments[:7])
        return Inert()

    def _pairs(self, items: object) -> object:
        """An ordered or default dictionary, from a list of pairs where protocol 0 has it."""
        made: dict[str, Any] = {}
        if type(items) is list:
            self._budget.spend(len(items))
            self._fill((pair for pair in items if type(pair) in (list, tuple) and len(pair) == 2), made)
        return made

    def _build(self) -> None:
        """The state of an object; of dictionaries, it is attributes that mean nothing here."""
        state = self._stack.pop()
        if type(self._stack[-1]) is Inert:
            self._stack[-1].state = state
        elif isinstance(self._stack[-1], Name):
            raise WeightsError("the pickle sets the state of a function")

    def _persistent(self) -> None:
        """Storages become references; classes whose source text is in the file become stand-ins."""
        self._budget.spent += 6
        pid = self._stack.pop()
        self._stack.append(self._refer(pid if type(pid) is tuple and len(pid) <= 8 else ()))

    def _refer(self, pid: tuple[object, ...]) -> object:
        match pid:
            case ("storage", Name() as kind, str() | int() as key, _, int(count), *view) if (
                count >= 0 and kind in _STORAGE_TYPES
            ):
                root = StorageRef(str(key), _STORAGE_TYPES[kind], count)
                self.storages.setdefault(root.key, root)
                match view:
                    case [(_, int(offset), int(size))]:
                        if not 0 <= offset <= offset + size <= count:
                            raise WeightsError(f"storage {_word(key)} has a view outside itself")
                        return StorageRef(root.key, root.dtype, size, offset)
                return root
            case ("module", Name() as kind, *_):
                return kind
        raise WeightsError("refers to something outside the pickle that is not known")


def _ints(values: object) -> tuple[int, ...]:
    if type(values) not in (tuple, list) or len(values) > _MAX_RANK:  # type: ignore[arg-type]
        raise WeightsError(f"a tensor's shape or stride is {_word(values)}, not up to {_MAX_RANK} numbers")
    for value in values:  # type: ignore[attr-defined]
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise WeightsError(f"a tensor's shape or stride is of {_word(value)}")
    return tuple(values)  # type: ignore[arg-type]


def _tensor(storage: object, offset: object, shape: object, stride: object, *_: object) -> TensorRef:
    if not isinstance(storage, StorageRef) or type(offset) is not int or offset < 0:
        raise WeightsError(f"a tensor has storage {_word(storage)} and offset {_word(offset)}")
    sizes, steps = _ints(shape), _ints(stride)
    if len(sizes) != len(steps):
        raise WeightsError(f"a tensor has shape {sizes} and stride {steps}")
    span = 1 + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    count = 1
    for n in sizes:
        count *= n
    # count: overlapping steps would make a tensor of any size out of one number
    if count and (offset + span > storage.count or count > span):
        raise WeightsError(f"a tensor of shape {sizes} does not fit its storage of {storage.count} numbers")
    return TensorRef(storage, offset, sizes, steps)


def _typed_tensor(*arguments: object) -> TensorRef:
    """As torch saves types without a storage class of their own: bytes, and the type by name."""
    dtype = arguments[6] if len(arguments) > 6 else None
    name = dtype.removeprefix("torch.")[:40] if isinstance(dtype, Name) else "unknown"
    raise WeightsError(f"tensors of type {name} are not known")


def _first(value: object = None, *_: object) -> object:
    return value


def _size(sizes: object = (), *_: object) -> object:
    return sizes


def _reconstructed(kind: object = None, *_: object) -> object:
    return {} if isinstance(kind, Name) and kind in _DICTIONARIES else Inert()


_DICTIONARIES = frozenset({"collections.OrderedDict", "collections.defaultdict"})
_MEANINGS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.Size": _size,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
}

_REFUSED = {
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}


def _skip(size: int) -> Callable[[_Machine], object]:
    return lambda m: m._bytes(size)


_OPERATIONS: dict[bytes, Callable[[_Machine], object]] = {
    # protocol and framing
    b"\x80": _skip(1),
    b"\x95": _skip(8),
    # the stack and the memo
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"0": lambda m: m._stack.pop(),
    b"1": lambda m: m._marked(),
    b"2": lambda m: m._stack.append(m._stack[-1]),
    b"g": lambda m: m._stack.append(m._memo[int(m._line()[:12])]),
    b"h": lambda m: m._stack.append(m._memo[m._byte()]),
    b"j": lambda m: m._stack.append(m._memo[m._number(4)]),
    b"p": lambda m: m._put(int(m._line()[:12])),
    b"q": lambda m: m._put(m._byte()),
    b"r": lambda m: m._put(m._number(4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    # words and numbers
    b"N": lambda m: m._stack.append(None),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"I": lambda m: m._push_int(m._line()),
    b"L": lambda m: m._push_int(m._line()),
    b"J": lambda m: m._stack.append(int.from_bytes(m._exactly(4), "little", signed=True)),
    b"K": lambda m: m._stack.append(m._byte()),
    b"M": lambda m: m._stack.append(m._number(2)),
    b"\x8a": lambda m: m._push_long(m._byte()),
    b"\x8b": lambda m: m._push_long(m._number(4)),
    b"F": lambda m: m._stack.append(float(m._line()[:40])),
    b"G": lambda m: m._stack.append(struct.unpack(">d", m._exactly(8))[0]),
    b"S": lambda m: m._stack.append(m._line()[1:-1]),
    b"T": lambda m: m._push_text(m._number(4), "latin-1"),
    b"U": lambda m: m._push_text(m._byte(), "latin-1"),
    b"V": lambda m: m._stack.append(m._line()),
    b"X": lambda m: m._push_text(m._number(4)),
    b"\x8c": lambda m: m._push_text(m._byte()),
    b"\x8d": lambda m: m._push_text(m._number(8)),
    b"B": lambda m: m._push_bytes(m._number(4)),
    b"C": lambda m: m._push_bytes(m._byte()),
    b"\x8e": lambda m: m._push_bytes(m._number(8)),
    b"\x96": lambda m: m._push_bytes(m._number(8)),
    # containers; the members of sets are of no use to anybody here
    b")": lambda m: m._stack.append(()),
    b"t": lambda m: m._stack.append(tuple(m._marked())),
    b"\x85": lambda m: m._fold(1),
    b"\x86": lambda m: m._fold(2),
    b"\x87": lambda m: m._fold(3),
    b"]": lambda m: m._list(),
    b"l": lambda m: m._stack.append(m._marked()),
    b"a": lambda m: m._append([m._stack.pop()]),
    b"e": lambda m: m._append(m._marked()),
    b"}": lambda m: m._stack.append({}),
    b"d": lambda m: m._dictionary(),
    b"s": lambda m: m._set_items([m._stack.pop(), m._stack.pop()][::-1]),
    b"u": lambda m: m._set_items(m._marked()),
    b"\x8f": lambda m: m._stack.append(Inert()),
    b"\x90": lambda m: m._marked(),
    b"\x91": lambda m: m._frozen_set(),
    # names and calls
    b"c": lambda m: m._import(),
    b"\x93": lambda m: m._import_words(),
    b"R": lambda m: m._reduce(),
    b"\x81": lambda m: m._reduce(),
    b"\x92": lambda m: m._new(),
    b"o": lambda m: m._object(),
    b"i": lambda m: m._instance(),
    b"b": lambda m: m._build(),
    b"Q": lambda m: m._persistent(),
}
