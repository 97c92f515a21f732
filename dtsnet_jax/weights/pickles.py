"""Reads the pickles of PyTorch's weights without running anything that they ask for.

A pickle is a program for a stack machine. The machine here knows the opcodes of plain values and
containers. A name that the program asks for stays a name, and only a few are known; calling one
makes a record, which nothing can change, or a plain dict; no attribute of anything is ever set.
What records say is compared with bytes by who reads these.
"""

import io
import math
import pickletools
from typing import NamedTuple

import ml_dtypes
import numpy as np

MOST_OPCODES = 1_000_000  # of a pickle; a tensor needs about forty
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_LARGEST = 2**63 - 1  # of sizes; larger ones are only there to be multiplied for long
_MOST_DIMENSIONS = 32


class Name(NamedTuple):
    """Something that a pickle names; it is never looked up."""

    module: str
    name: str


class Storage(NamedTuple):
    """Where the numbers of tensors lie.

    Attributes:
      key: its name in the file.
      dtype: of a number.
      size: how many numbers.
    """

    key: str
    dtype: np.dtype
    size: int

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return self.size * self.dtype.itemsize


class Tensor(NamedTuple):
    """A tensor, which lies within its storage and has no more numbers than it.

    Attributes:
      storage: where its numbers lie.
      offset, strides: the place of its first number there, and how far apart the others are.
      shape: its shape.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Pickle(NamedTuple):
    """What a pickle holds.

    Attributes:
      content: None, bool, int, float, str, bytes, Name, Storage, Tensor, or a tuple, list or dict
        of these, which may hold itself; a dict has only its entries whose keys are text.
      storages: all that it refers to, by key.
    """

    content: object
    storages: dict[str, Storage]


_ORDERED_DICT = Name("collections", "OrderedDict")
_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_STORAGES = {Name("torch", name): dtype for name, dtype in _DTYPES.items()}
_NAMES = {_ORDERED_DICT, _TENSOR, _PARAMETER, *_STORAGES}


def read_pickle(file: io.BufferedIOBase) -> Pickle:
    """Reads a pickle from where a file stands, to its end; takes time in proportion to its length.

    Args:
      file: in memory, so that no more can be asked for than there is.

    Raises:
      ValueError: it is damaged, has more than a million opcodes, or one that state dicts do not
        need; it asks for a name that is not known, or calls one with anything else than PyTorch
        does; a tensor reaches beyond its storage.
    """
    machine = _Machine()
    try:
        return Pickle(machine.run(file), machine.storages)
    except (IndexError, KeyError) as error:
        raise ValueError("its pickle takes what it has not put there") from error


class _Machine:
    def __init__(self):
        self.storages: dict[str, Storage] = {}
        self._stack: list = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def run(self, file: io.BufferedIOBase) -> object:
        """What lies on top when the program ends."""
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number == MOST_OPCODES:
                raise ValueError(f"its pickle has more than {MOST_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                return self._stack.pop()
            if opcode.name not in _OPERATIONS:
                raise ValueError(f"its pickle has the opcode {opcode.name}, which is not allowed")
            _OPERATIONS[opcode.name](self, argument)

    def mark(self, _) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def last(self, count: int) -> list:
        if count > len(self._stack):
            raise IndexError
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def _container(self, kind: type) -> list | dict:
        if type(self._stack[-1]) is not kind:
            raise ValueError(f"its pickle adds to something that is no {kind.__name__}")
        return self._stack[-1]

    def append(self, _) -> None:
        item = self._stack.pop()
        self._container(list).append(item)

    def appends(self, _) -> None:
        items = self.since_mark()
        self._container(list).extend(items)

    def set_item(self, _) -> None:
        items = self.last(2)
        _fill(self._container(dict), items)

    def set_items(self, _) -> None:
        items = self.since_mark()
        _fill(self._container(dict), items)

    def put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def push(self, value: object) -> None:
        self._stack.append(value)

    def name(self, both: str | None) -> None:
        module, name = self.last(2) if both is None else both.split(" ", 1)
        wanted = Name(module, name) if type(module) is type(name) is str else None
        if wanted not in _NAMES:
            shown = f"{module}.{name}" if wanted else "something without a name"
            raise ValueError(f"its pickle asks for {shown[:80]!a}, which is not allowed")
        self._stack.append(wanted)

    def call(self, _) -> None:
        name, arguments = self.last(2)
        if type(name) is not Name or type(arguments) is not tuple:
            raise ValueError("its pickle calls something that has no name")
        if name == _ORDERED_DICT:
            self._stack.append(_ordered_dict(arguments))
        elif name == _TENSOR:
            self._stack.append(_tensor(arguments))
        elif name == _PARAMETER and arguments and type(arguments[0]) is Tensor:
            self._stack.append(arguments[0])
        else:
            raise ValueError(f"its pickle calls '{name.name}', which is not called so")

    def forget_state(self, _) -> None:
        """Attributes, such as the versions of modules beside a state dict, are not kept."""
        self._stack.pop()

    def refer(self, _) -> None:
        storage = _storage(self._stack.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("its pickle describes a storage in two ways")
        self._stack.append(storage)


_OPERATIONS = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "MARK": _Machine.mark,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "DICT": lambda machine, _: machine.push(_fill({}, machine.since_mark())),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.forget_state,
    "BINPERSID": _Machine.refer,
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
            *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
            *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
        ),
        _Machine.push,
    ),
}


def _fill(target: dict, items: list) -> dict:
    """Puts keys and values, one after the other, into a dict."""
    if len(items) % 2:
        raise ValueError("its pickle has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is str:  # anything else may take forever to hash
            target[key] = value
    return target


def _ordered_dict(arguments: tuple) -> dict:
    """A call of OrderedDict with nothing, or as Python 2 wrote it with a list of pairs."""
    pairs = arguments[0] if arguments else []
    if len(arguments) > 1 or type(pairs) is not list:
        raise ValueError("its pickle makes an OrderedDict of something else than pairs")
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("its pickle makes an OrderedDict of something else than pairs")
    items = [item for pair in pairs for item in pair]
    pairs.clear()  # no list is gone through twice, however often a program calls with it
    return _fill({}, items)


def _storage(identity: object) -> Storage:
    """What a persistent id refers to: ('storage', type, key, device, size, view or nothing)."""
    if type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
        raise ValueError("its pickle refers to something that is no storage")
    _, kind, key, _, size, *view = identity
    if type(kind) is not Name or kind not in _STORAGES or type(key) is not str:
        raise ValueError("its pickle refers to something that is no storage")
    if view not in ([], [None]):
        raise ValueError("it uses storage views, which are not supported")
    _check_sizes((size,))
    return Storage(key, _STORAGES[kind], size)


def _tensor(arguments: tuple) -> Tensor:
    """A call of torch._utils._rebuild_tensor_v2; what is said of gradients does not matter."""
    if len(arguments) < 4 or type(arguments[0]) is not Storage:
        raise ValueError("its pickle makes a tensor without a storage")
    storage, offset, shape, strides = arguments[:4]
    if not (type(shape) is type(strides) is tuple and len(shape) == len(strides)):
        raise ValueError("a tensor has not as many strides as dimensions")
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor has {len(shape)} dimensions")
    _check_sizes((offset, *shape, *strides))
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if 0 not in shape and (last >= storage.size or math.prod(shape) > storage.size):
        raise ValueError("a tensor reaches beyond its storage")
    return Tensor(storage, offset, shape, strides)


def _check_sizes(sizes: tuple) -> None:
    if not all(type(size) is int and 0 <= size <= _LARGEST for size in sizes):
        raise ValueError("a shape, stride, offset or size is no whole number from 0 on")
