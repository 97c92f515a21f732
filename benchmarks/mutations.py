"""Changes files as damage and malice do: bytes, lengths, JSON and the opcodes of pickles."""

import json
import pickletools
import struct
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from random import Random

Mutate = Callable[[Random, Sequence[bytes]], bytes]

_NUMBERS = (0, 1, 2, 4, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
_VALUES = (
    *(None, True, False, 0, 1, -1, 2, 255, 10**6, 2**31, 2**63, 10**400, 0.5, 1e308, -1e308),
    *(float("nan"), float("inf"), "", "x", "a/b", "../x", "\0", "\ud800", "9" * 5000),
    *([], [[]], [1], [1, 2], [[1, 2], [3, 4], [5, 0]], {}, {"x": 1}),
)
_OPCODES = tuple(op.code.encode("latin-1") for op in pickletools.opcodes if op.arg is None)
_PIECES = (
    *(b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n", b"cnumpy\nndarray\n"),
    *(b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"),
    *(b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n", b"ctorch\nBoolStorage\n"),
    *(b"K\x00", b"K\x04", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"I01\n"),
    *(b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"L9L\n"),
    *(b"r\xff\xff\xff\xff", b"q\x01", b"h\x01", b"j\x01\x00\x00\x00", b"X\x01\x00\x00\x000"),
    *(b"X\xff\xff\xff\x7f", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"X\x05\x00\x00\x00shape"),
    *(b"G\x7f\xf0\x00\x00\x00\x00\x00\x00", b"}X\x05\x00\x00\x00shapeK\x40\x85sb", b")\x85" * 50),
)


def bytes_of(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One to four changes of bytes anywhere in one of the files."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        _change(random, data, seeds)
    return bytes(data)


def _change(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    place = random.randrange(len(data) + 1)
    if random.random() < 0.3:
        place = min(place, random.randrange(64))  # headers
    length = random.choice((1, 2, 4, 8, 16, 64, 300))
    match random.randrange(8):
        case 0 | 1:
            for index in range(place, min(place + random.choice((1, 1, 2, 8)), len(data))):
                data[index] ^= 1 << random.randrange(8)
        case 2:
            del data[place:]
        case 3:
            del data[place : place + length]
        case 4:
            other = random.choice(seeds)
            start = random.randrange(len(other) + 1)
            data[place:place] = other[start : start + length]
        case 5:
            data[place : place + length] = random.randbytes(length)
        case _:
            order, kind = random.choice("<>"), random.choice("BHIQ")
            size = struct.calcsize(kind)
            number = random.choice(_NUMBERS) % 2 ** (8 * size)
            data[place : place + size] = struct.pack(order + kind, number)


def png_of(random: Random, seeds: Sequence[bytes]) -> bytes:
    """As ``bytes_of``; in half of the PNG files the checksums are made right again."""
    data = bytearray(bytes_of(random, seeds))
    place = 8
    while data.startswith(b"\x89PNG") and random.random() < 0.9 and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(data)


def json_of(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Other values in JSON, or in one of its lines; sometimes other bytes."""
    if random.random() < 0.15:
        return bytes_of(random, seeds)
    lines = random.choice(seeds).splitlines(keepends=True)
    whole = b"".join(lines)
    try:
        return _other_values(random, json.loads(whole))
    except ValueError:
        index = random.randrange(len(lines))
        lines[index] = _other_values(random, json.loads(lines[index])) + b"\n"
        return b"".join(lines)


def _other_values(random: Random, content: object) -> bytes:
    root = [content]
    for _ in range(random.choice((1, 1, 2, 3))):
        parent, key = root, 0
        while isinstance(parent[key], list | dict) and parent[key] and random.random() < 0.8:
            parent = parent[key]
            key = random.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        match random.randrange(6):
            case 0 if parent is not root:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[random.choice(("x", "", "size", "0"))] = deepcopy(parent[key])
            case 2 if isinstance(parent, list) and parent is not root:
                parent.append(deepcopy(parent[key]))
            case _:
                parent[key] = deepcopy(random.choice(_VALUES))
    text = json.dumps(root[0])
    if random.random() < 0.01:
        text = text.replace("1", "[" * 100_000 + "]" * 100_000, 1)
    return text.encode()


def safetensors_of(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Another header of safetensors, within it another text of JSON, or other bytes."""
    data = random.choice(seeds)
    (length,) = struct.unpack_from("<Q", data)
    if random.random() < 0.4:
        return bytes_of(random, [data])
    header = data[8 : 8 + length]
    content = json.loads(header)
    inner = content.get("__metadata__", {}).get("detector")
    if inner and random.random() < 0.6:
        content["__metadata__"]["detector"] = json_of(random, [inner.encode()]).decode("latin-1")
        header = json.dumps(content).encode()
    else:
        header = _other_values(random, content)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def pickle_of(random: Random, seed: bytes) -> bytes:
    """Opcodes of a pickle left out, said again, in another order, with other arguments, or new."""
    places = [place for _, _, place in pickletools.genops(seed)] + [len(seed)]
    parts = [seed[start:end] for start, end in pairwise(places)]
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        index = random.randrange(len(parts))
        match random.randrange(7):
            case 0:
                del parts[index]
            case 1:
                parts.insert(index, random.choice(parts))
            case 2:
                other = random.randrange(len(parts))
                parts[index], parts[other] = parts[other], parts[index]
            case 3:
                parts[index] = random.choice(_PIECES)
            case 4:
                parts.insert(index, random.choice(_PIECES))
            case 5:
                parts.insert(index, random.choice(_OPCODES))
            case _:
                start = random.randrange(len(parts))
                parts[index:index] = parts[start : start + random.randrange(1, 12)]
        parts = parts or [b"."]
    return b"".join(parts)
