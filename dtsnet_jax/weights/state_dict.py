"""Reads state dicts of PyTorch and safetensors files into NumPy, without PyTorch.

A ``.pth`` file is a pickle with storages beside it; ``dtsnet_jax.weights.pickles`` reads the pickle
without running anything. Its records say where tensors lie; they become arrays here, at the end,
by NumPy's constructor, which refuses what reaches beyond the bytes that are there.
"""

import io
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.weights.pickles import Storage, Tensor, read_pickle

LARGEST_PICKLE = 16 * 2**20  # bytes; that of a ResNet50 has 45,000
_LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_DAMAGES = (
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,  # of zipfile: encrypted, or of a method that it does not know
    SafetensorError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads every tensor of a weights file.

    Nothing of the file is run, whatever it holds, and no array shows anything but its bytes. Beside
    the pickle, of at most 16 MiB and a million opcodes, no more memory is taken than the file has
    bytes: no tensor may have more numbers than its storage, nor the storages more bytes than the
    file, and entries of a zip archive may not be compressed, which PyTorch's never are.

    Args:
      path: a ``.pth``/``.pt`` file in PyTorch's zip or legacy layout, or ``.safetensors``.

    Returns:
      Arrays by name, in the file's order and dtypes (bfloat16 as ``ml_dtypes.bfloat16``); they may
      be read-only and share memory.

    Raises:
      UserError: the file is missing, damaged, of another format, beyond these limits, or its pickle
        asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file '{path}' does not exist; give the path of a .pth file.")
    try:
        if path.suffix == ".safetensors":
            arrays = safetensors.numpy.load_file(path)
        elif zipfile.is_zipfile(path):
            arrays = _read_zip_layout(path)
        else:
            arrays = _read_legacy_layout(path)
    except _DAMAGES as error:
        raise UserError(
            f"weights file '{path}' cannot be read as a PyTorch state dict or safetensors file "
            f"({first_line(error)}); it may be cut short: fetch it again."
        ) from error
    if not arrays:
        raise UserError(f"weights file '{path}' holds no tensors; a state dict was expected.")
    return arrays


def _read_zip_layout(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("the archive has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and _stored(archive, order, LARGEST_PICKLE) != b"little":
            raise ValueError("its bytes are in big-endian order")
        program = _stored(archive, pickles[0], LARGEST_PICKLE)
        tensors = _tensors(read_pickle(io.BytesIO(program)).content)
        size = path.stat().st_size
        used = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        _check_total(used.values(), size)
        data = {
            key: _stored(archive, f"{root}data/{key}", storage.nbytes)
            for key, storage in used.items()
        }
    return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _stored(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The content of an archive's entry."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise ValueError("an entry of the archive is compressed")
    if entry.file_size > most:
        raise ValueError(f"an entry of the archive has {entry.file_size} bytes")
    return archive.read(entry)


def _read_legacy_layout(path: Path) -> dict[str, np.ndarray]:
    """Five pickles (magic number, version, system, content, storage keys), then the storages."""
    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(LARGEST_PICKLE))
        magic_number, _, _ = (read_pickle(pickles).content for _ in range(3))
        if magic_number != _LEGACY_MAGIC_NUMBER:
            raise ValueError("it does not begin as PyTorch files do")
        content, storages = read_pickle(pickles)
        keys = read_pickle(pickles).content
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise ValueError("it does not list its storages")
        tensors = _tensors(content)
        used = {tensor.storage.key for tensor in tensors.values()}
        _check_total((storages[key] for key in keys), path.stat().st_size)
        file.seek(pickles.tell())
        data = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            if count != storages[key].size:
                raise ValueError("a storage has another size than announced")
            if key in used:
                data[key] = file.read(storages[key].nbytes)
            else:
                file.seek(storages[key].nbytes, io.SEEK_CUR)
    return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _tensors(content: object) -> dict[str, Tensor]:
    """The tensors of a state dict, also from under a checkpoint's key 'state_dict'."""
    if type(content) is dict and type(content.get("state_dict")) is dict:
        content = content["state_dict"]
    if type(content) is not dict:
        return {}
    return {name: value for name, value in content.items() if type(value) is Tensor}


def _check_total(storages: Iterable[Storage], size: int) -> None:
    """Refuses storages with more bytes than the file, which entries that overlap can have."""
    if sum(storage.nbytes for storage in storages) > size:
        raise ValueError("its storages are larger than the file")


def _array(tensor: Tensor, data: bytes) -> np.ndarray:
    """A read-only view of a storage's bytes."""
    storage = tensor.storage
    if len(data) != storage.nbytes:
        raise ValueError("a storage has another size than announced")
    if 0 in tensor.shape:
        return np.empty(tensor.shape, storage.dtype)
    item = storage.dtype.itemsize
    strides = [stride * item for stride in tensor.strides]
    return np.ndarray(tensor.shape, storage.dtype, data, tensor.offset * item, strides)
