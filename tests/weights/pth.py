"""Weights files put together opcode by opcode, as nobody's library would write them."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n"


def value(content: object) -> bytes:
    """The opcodes that put a plain value on the stack, without what begins and ends a pickle."""
    return pickle.dumps(content, 2)[2:-1].replace(b"q\x00", b"")


def storage(
    key: str = "0", size: object = 4, kind: str | bytes = "FloatStorage", *, view: bytes = b""
) -> bytes:
    """A persistent id; ``kind`` is the name of a type, or what puts something else there.

    That of the legacy layout has a ``view``, None, as its last part.
    """
    name = kind if isinstance(kind, bytes) else f"ctorch\n{kind}\n".encode()
    return b"(" + value("storage") + name + value(key) + value("cpu") + value(size) + view + b"tQ"


def tensor(
    storage: bytes = storage(),
    offset: object = 0,
    shape: object = (4,),
    strides: object = (1,),
    *,
    make: bytes = TENSOR,
) -> bytes:
    """A call of torch._utils._rebuild_tensor_v2, or of what ``make`` puts there."""
    hooks = ORDERED_DICT + b")R"
    arguments = storage + value(offset) + value(shape) + value(strides) + b"\x89" + hooks
    return make + b"(" + arguments + b"tR"


def state_dict(**values: bytes) -> bytes:
    """A dict of what opcodes make."""
    items = b"".join(value(name) + opcodes for name, opcodes in values.items())
    return b"\x80\x02}(" + items + b"u."


FLOATS = {"0": struct.pack("<4f", 1, 2, 3, 4)}


def write_zip(
    path: Path, opcodes: bytes, storages: Mapping[str, bytes] = FLOATS, **compression: int
) -> Path:
    """Writes PyTorch's zip layout."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **compression) as archive:
        archive.writestr("w/data.pkl", opcodes)
        archive.writestr("w/byteorder", "little")
        archive.writestr("w/version", "3\n")
        for key, data in storages.items():
            archive.writestr(f"w/data/{key}", data)
    path.write_bytes(buffer.getvalue())
    return path


def write_legacy(
    path: Path, opcodes: bytes, storages: Mapping[str, bytes] = FLOATS, *, width: int = 4
) -> Path:
    """Writes PyTorch's legacy layout; ``width`` is the number of bytes of an element."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    header = b"".join(pickle.dumps(part, 2) for part in (MAGIC_NUMBER, 1001, system))
    keys = pickle.dumps(list(storages), 2)
    data = b"".join(struct.pack("<q", len(one) // width) + one for one in storages.values())
    path.write_bytes(header + opcodes + keys + data)
    return path


LAYOUTS = {"zip": write_zip, "legacy": write_legacy}
