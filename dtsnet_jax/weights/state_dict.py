"""Reads state dicts of PyTorch and safetensors files into NumPy, without PyTorch.

A ``.pth`` file is a pickle. It is read by an unpickler that knows the names of tensors and
storages, all stand-ins defined here; any other name is refused before anything of the file has run.
"""

import collections
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from dtsnet_jax.errors import UserError

_STORAGE_DTYPES = {
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
_LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads every tensor of a weights file.

    Args:
      path: a ``.pth``/``.pt`` file in PyTorch's zip or legacy layout, or ``.safetensors``.

    Returns:
      Arrays by name, in the file's order and dtypes (bfloat16 as ``ml_dtypes.bfloat16``).

    Raises:
      UserError: the file is missing, damaged, of another format, or its pickle asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file '{path}' does not exist; give the path of a .pth file.")
    try:
        if path.suffix == ".safetensors":
            content = safetensors.numpy.load_file(path)
        elif zipfile.is_zipfile(path):
            content = _read_zip_layout(path)
        else:
            content = _read_legacy_layout(path)
    except (
        AttributeError,
        EOFError,
        KeyError,
        IndexError,
        OSError,
        SafetensorError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(
            f"weights file '{path}' cannot be read as a PyTorch state dict or safetensors file "
            f"({error}); it may be cut short: fetch it again."
        ) from error
    tensors = _unwrap(content)
    if not tensors:
        raise UserError(f"weights file '{path}' holds no tensors; a state dict was expected.")
    return tensors


def _unwrap(content) -> dict[str, np.ndarray]:
    """Takes the tensors of a state dict, also from under a checkpoint's key 'state_dict'."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    return {str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}


class _StorageType:
    """Stands for torch.FloatStorage and its kin."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    """Builds NumPy views of storages and nothing else."""

    def __init__(self, file, load_storage):
        super().__init__(file, encoding="utf-8")
        self._load_storage = load_storage

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGE_DTYPES:
            return _StorageType(_STORAGE_DTYPES[name])
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return {
                "_rebuild_tensor_v2": _rebuild_tensor,
                "_rebuild_parameter": _rebuild_parameter,
            }[name]
        raise pickle.UnpicklingError(f"its pickle asks for '{module}.{name}', which is not allowed")

    def persistent_load(self, persistent_id):
        kind, storage_type, key, _, size = persistent_id[:5]
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("its pickle refers to something that is no storage")
        view = persistent_id[5] if len(persistent_id) > 5 else None
        if view is not None:
            raise pickle.UnpicklingError("it uses storage views, which are not supported")
        return self._load_storage(str(key), storage_type.dtype, int(size))


def _rebuild_tensor(storage, offset, shape, strides, *_):
    """torch._utils._rebuild_tensor_v2: a strided view of a flat storage, checked and copied."""
    if any(s < 0 for s in (offset, *shape, *strides)):
        raise pickle.UnpicklingError("a tensor has a negative shape, stride or offset")
    empty = 0 in shape
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if not empty and last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
    return tensor


class _Tensor:
    """A tensor whose storage may be filled later: the legacy layout stores the bytes last."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def numpy(self) -> np.ndarray:
        item = self.storage.itemsize
        byte_strides = tuple(s * item for s in self.strides)
        flat = self.storage[self.offset :]
        return np.lib.stride_tricks.as_strided(flat, self.shape, byte_strides).copy()


def _to_numpy(content):
    if isinstance(content, _Tensor):
        return content.numpy()
    if isinstance(content, dict):
        return {key: _to_numpy(value) for key, value in content.items()}
    return content


def _read_zip_layout(path: Path):
    with zipfile.ZipFile(path) as archive:
        pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("the archive has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its bytes are in big-endian order")
        storages: dict[str, np.ndarray] = {}

        def load_storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
            if key not in storages:
                data = archive.read(f"{root}data/{key}")
                storages[key] = np.frombuffer(data, dtype, size)
            return storages[key]

        with archive.open(pickles[0]) as file:
            return _to_numpy(_Unpickler(file, load_storage).load())


def _read_legacy_layout(path: Path):
    """Five pickles (magic number, version, system, content, storage keys), then the storages."""
    with path.open("rb") as file:
        storages: dict[str, np.ndarray] = {}

        def load_storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
            if size * dtype.itemsize > path.stat().st_size:
                raise ValueError("a storage is larger than the file")
            return storages.setdefault(key, np.zeros(size, dtype))

        def refuse_storage(*_):
            raise pickle.UnpicklingError("its header refers to a storage")

        header = [_Unpickler(file, refuse_storage).load() for _ in range(3)]
        if header[0] != _LEGACY_MAGIC_NUMBER:
            raise ValueError("it does not begin as PyTorch files do")
        content = _Unpickler(file, load_storage).load()
        for key in _Unpickler(file, refuse_storage).load():
            storage = storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            data = file.read(storage.nbytes)
            if count != len(storage) or len(data) != storage.nbytes:
                raise ValueError("a storage has another size than announced")
            storage[:] = np.frombuffer(data, storage.dtype)
        return _to_numpy(content)
