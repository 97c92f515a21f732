"""Weights files made to deceive: nothing runs, nothing beyond them is read, nothing explodes."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch

from dtsnet_jax.errors import UserError
from dtsnet_jax.weights.pickles import read_pickle
from dtsnet_jax.weights.state_dict import read_state_dict
from tests.weights.pth import (
    FLOATS,
    LAYOUTS,
    ORDERED_DICT,
    TENSOR,
    state_dict,
    storage,
    tensor,
    write_legacy,
    write_zip,
)
from tests.weights.pth import value as opcodes


@pytest.fixture(params=LAYOUTS)
def write(request, tmp_path):
    def write(program, **options):
        return LAYOUTS[request.param](tmp_path / "w.pth", program, **options)

    return write


@pytest.mark.parametrize(("layout", "view"), [("zip", b""), ("legacy", b"N")])
def test_what_is_put_together_by_hand_is_read_as_pytorch_does(tmp_path, layout, view):
    views = {
        "w": tensor(storage(view=view)),
        "turned": tensor(storage(view=view), shape=(2, 2), strides=(1, 2)),
        "offset": tensor(storage(view=view), offset=1, shape=(3,)),
    }
    path = LAYOUTS[layout](tmp_path / "w.pth", state_dict(**views))
    expected = torch.load(path, weights_only=True)
    read = read_state_dict(path)
    assert list(read) == list(expected)
    for name in views:
        np.testing.assert_array_equal(read[name], expected[name])


FLOAT_STORAGE = b"ctorch\nFloatStorage\n"
CHANGED = {
    "a tensor's shape": tensor() + opcodes({"shape": (64,), "strides": (1,)}) + b"b",
    "a tensor's slots": tensor() + b"N" + opcodes({"shape": (64,)}) + b"\x86b",
    "a tensor's item": tensor() + opcodes("shape") + opcodes((64,)) + b"s",
    "a storage's size": tensor(storage() + opcodes({"size": 64}) + b"b"),
    "a dtype": tensor(storage(kind=FLOAT_STORAGE + opcodes({"dtype": "O"}) + b"b")),
    "a function's defaults": tensor(
        make=TENSOR + b"N" + opcodes({"__defaults__": (1,), "__name__": "x"}) + b"\x86b"
    ),
    "a class": ORDERED_DICT + b"N" + opcodes({"get": None}) + b"\x86b0" + tensor(),
}


@pytest.mark.parametrize("changed", CHANGED)
def test_what_has_been_checked_cannot_be_changed(write, changed):
    path = write(state_dict(w=CHANGED[changed]))
    try:
        read = read_state_dict(path)
    except UserError:
        return
    np.testing.assert_array_equal(read["w"], np.float32([1, 2, 3, 4]))


BEYOND = {
    "shape": tensor(shape=(5,)),
    "stride": tensor(shape=(4,), strides=(2,)),
    "offset": tensor(offset=1),
    "negative offset": tensor(offset=-1),
    "negative stride": tensor(offset=3, strides=(-1,)),
    "negative shape": tensor(shape=(-4,), strides=(-1,)),
    "storage": tensor(storage(size=64), shape=(64,)),
    "negative storage": tensor(storage(size=-1), shape=(0,)),
    "dtype": tensor(storage(kind="DoubleStorage")),
    "product of 64 bits": tensor(shape=(2**32, 2**32), strides=(0, 0)),
    "the same number again and again": tensor(shape=(10**12,), strides=(0,)),
    "more than 64 bits": tensor(shape=(2**70, 0), strides=(0, 2**70)),
    "huge numbers to multiply": tensor(shape=(7 ** (10**6),) * 30, strides=(0,) * 30),
    "a shape of text": tensor(shape=("4",)),
    "a shape of bools": tensor(shape=(True,)),
    "a shape that is a list": tensor(shape=[4], strides=[1]),
    "too few strides": tensor(strides=()),
    "65 dimensions": tensor(shape=(1,) * 65, strides=(1,) * 65),
    "no storage": tensor(opcodes([1.0, 2.0])),
    "one storage in two sizes": tensor() + b"0" + tensor(storage(size=3)),
}


@pytest.mark.parametrize("beyond", BEYOND)
def test_tensors_stay_within_their_storage(write, beyond):
    with pytest.raises(UserError, match=r"w\.pth' cannot be read"):
        read_state_dict(write(state_dict(w=BEYOND[beyond])))


LAUGHS = b"\x88" + b"\x86".join([b"q\x00h\x00"] * 100) + b"\x86"  # 2¹⁰⁰ leaves
ENDLESS = {
    "a nest of lists": b"](" * 100_000 + b"e" * 100_000,
    "a nest of tuples": b")" + b"\x85" * 100_000,
    "a nest of tuples as a key": b"})" + b"\x85" * 100_000 + b"Ns",
    "a key that takes forever": b"}" + LAUGHS + b"Ns",
    "a list within itself": b"]q\x00h\x00a",
    "a place in the memory far away": b"Nr\xff\xff\xff\xff",
}


@pytest.mark.parametrize("endless", ENDLESS)
def test_what_grows_without_end_is_left_out(write, endless):
    assert list(read_state_dict(write(state_dict(x=ENDLESS[endless], w=tensor())))) == ["w"]


REFUSED = {
    "more than is there": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a text that is longer than the file": b"\x80\x02X\xff\xff\xff\x7fx.",
    "too many opcodes": b"\x80\x02" + b"N0" * 600_000 + b"N.",
    "no end": b"\x80\x02N",
    "nothing": b"\x80\x02.",
    "what is not there": b"\x80\x02h\x07.",
    "a number of a million digits": b"I" + b"9" * 10**6 + b"\n.",
    "a class of its own": b"\x80\x02ctorch\nFloatStorage\n)\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "a name from texts": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "a name of numbers": b"\x80\x04K\x01K\x02\x93.",
    "a call of a storage": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "a call of a dict": b"\x80\x02})R.",
    "an OrderedDict of a number": b"\x80\x02" + ORDERED_DICT + b"K\x01\x85R.",
    "a persistent id of a number": b"\x80\x02K\x01Q.",
}


@pytest.mark.parametrize("refused", REFUSED)
def test_a_program_that_is_no_state_dict_is_refused(write, refused):
    with pytest.raises(UserError, match=r"w\.pth' cannot be read"):
        read_state_dict(write(REFUSED[refused]))


def test_pickles_of_python_2_are_read():
    pairs = b"(lp0\n(lp1\nS'w'\np2\naI01\naa"
    program = b"ccollections\nOrderedDict\np3\n(" + pairs + b"tRp4\n."
    assert read_pickle(io.BytesIO(program)).content == {"w": True}


class TestArchives:
    def read(self, tmp_path):
        return read_state_dict(tmp_path / "w.pth")

    def test_what_unpacks_to_much_is_refused(self, tmp_path):
        zeros = {"0": bytes(10**8)}
        program = state_dict(w=tensor(storage(size=25 * 10**6), shape=(25 * 10**6,)))
        path = write_zip(tmp_path / "w.pth", program, zeros, compression=zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 10**6
        with pytest.raises(UserError, match="is compressed"):
            self.read(tmp_path)

    def test_entries_that_overlap_are_refused(self, tmp_path):
        """All names point to the same bytes: a file of 1 MB would fill 64 MB."""
        keys = [str(index) for index in range(64)]
        size = 250_000
        tensors = {f"w{key}": tensor(storage(key, size), shape=(size,)) for key in keys}
        with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
            archive.writestr("w/data.pkl", state_dict(**tensors))
            archive.writestr("w/data/0", bytes(4 * size))
            first = archive.getinfo("w/data/0")
            for key in keys[1:]:
                again = zipfile.ZipInfo(f"w/data/{key}")
                for field in ("CRC", "compress_size", "file_size", "header_offset"):
                    setattr(again, field, getattr(first, field))
                archive.filelist.append(again)
                archive.NameToInfo[again.filename] = again
        with pytest.raises(UserError, match="larger than the file"):
            self.read(tmp_path)

    def test_an_entry_that_claims_more_than_there_is(self, tmp_path):
        path = write_zip(tmp_path / "w.pth", state_dict(w=tensor()))
        content, size = path.read_bytes(), struct.pack("<II", 16, 16)
        assert content.count(size) == 2
        path.write_bytes(content.replace(size, struct.pack("<II", 2**31, 2**31)))
        with pytest.raises(UserError, match="cannot be read"):
            self.read(tmp_path)

    def test_a_storage_that_is_missing(self, tmp_path):
        write_zip(tmp_path / "w.pth", state_dict(w=tensor()), {})
        with pytest.raises(UserError, match="w/data/0"):
            self.read(tmp_path)

    def test_a_pickle_that_is_too_large(self, tmp_path):
        program = state_dict(x=opcodes("x" * 2**24), w=tensor())
        write_zip(tmp_path / "w.pth", program)
        with pytest.raises(UserError, match="16777"):
            self.read(tmp_path)


class TestLegacyFiles:
    def test_a_storage_that_is_listed_but_not_known(self, tmp_path):
        path = write_legacy(tmp_path / "w.pth", state_dict(w=tensor()), FLOATS | {"1": b""})
        with pytest.raises(UserError, match="cannot be read"):
            read_state_dict(path)

    def test_a_storage_that_is_not_listed(self, tmp_path):
        path = write_legacy(tmp_path / "w.pth", state_dict(w=tensor()), {})
        with pytest.raises(UserError, match="cannot be read"):
            read_state_dict(path)


HEADERS = {
    "a tensor beyond the file": {"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}},
    "a shape that is too large": {"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 16]}},
    "tensors that overlap": {
        name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "vw"
    },
    "a shape beyond 64 bits": {
        "w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}
    },
    "offsets that go back": {"w": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
    "a number format of its own": {"w": {"dtype": "O", "shape": [4], "data_offsets": [0, 16]}},
    "no object": [],
}


@pytest.mark.parametrize("header", HEADERS)
def test_safetensors_that_deceive_are_refused(tmp_path, header):
    text = json.dumps(HEADERS[header]).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + FLOATS["0"])
    with pytest.raises(UserError, match=r"w\.safetensors' cannot be read"):
        read_state_dict(path)
