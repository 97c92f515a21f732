"""Weights files: every layout reads alike, everything wrong is refused by name."""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from flax import nnx

from dtsnet_jax.errors import UserError
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.weights import sources
from dtsnet_jax.weights.convert import load_state_dict, load_teacher
from dtsnet_jax.weights.sources import check_hash, download, find_weights
from dtsnet_jax.weights.state_dict import read_state_dict


def tensors():
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    return {
        "plain": torch.randn(2, 3, 4),
        "transposed view": base.T,
        "offset view": base[2:, 1:4],
        "scalar": torch.tensor(3),
        "half": torch.randn(3).half(),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "empty": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_both_layouts_of_pytorch(tmp_path, zipped):
    path = tmp_path / "weights.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    read = read_state_dict(path)
    assert list(read) == list(tensors())
    for name, tensor in tensors().items():
        np.testing.assert_array_equal(read[name], tensor.detach().numpy())
        assert read[name].dtype == tensor.detach().numpy().dtype


def test_bfloat16_and_a_checkpoint_around_the_state_dict(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "state_dict": {"w": torch.tensor([1.5]).bfloat16()}}, path)
    assert read_state_dict(path)["w"].astype(np.float32) == 1.5


def test_safetensors(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    safetensors.numpy.save_file(arrays, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.safetensors")["a"], arrays["a"])


class Evil:
    """Writes a file when it is unpickled by the usual means."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_never_runs(tmp_path, zipped):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"w": torch.zeros(1), "x": Evil(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="which is not allowed"):
        read_state_dict(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the trap works


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(4, 4)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in entries if n.endswith("data.pkl"))
    assert b"K\x04K\x04\x86" in entries[name]
    entries[name] = entries[name].replace(b"K\x04K\x04\x86", b"K\x09K\x09\x86")
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    with pytest.raises(UserError, match="beyond its storage"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_short_is_refused(tmp_path, zipped):
    path = tmp_path / "w.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"w\.pth.*cannot be read"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"", b"<html>", pickle.dumps([1, 2])])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth"):
        read_state_dict(path)


class TestConversion:
    def state_dict(self):
        from tests.parity.reference import torch_resnet

        return {key: value.numpy() for key, value in torch_resnet("resnet18").state_dict().items()}

    def load(self, state_dict):
        encoder = build_encoder("resnet18", rngs=nnx.Rngs(0))
        load_state_dict(encoder, state_dict, source="w.pth")

    def test_missing_tensor(self):
        state_dict = self.state_dict()
        del state_dict["layer2.0.downsample.1.running_var"]
        with pytest.raises(UserError, match=r"lacks.*layer2\.0\.downsample\.1\.running_var"):
            self.load(state_dict)

    def test_misshapen_tensor(self):
        state_dict = self.state_dict()
        state_dict["conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
        with pytest.raises(
            UserError, match=r"conv1\.weight.*\(64, 3, 3, 3\).*expected \(64, 3, 7, 7"
        ):
            self.load(state_dict)

    def test_values_that_are_not_finite(self):
        state_dict = self.state_dict()
        state_dict["bn1.bias"] = np.full(64, np.nan, np.float32)
        with pytest.raises(UserError, match=r"bn1\.bias.*not finite"):
            self.load(state_dict)


class TestSources:
    def test_name_with_a_wrong_hash(self, tmp_path):
        path = tmp_path / "resnet18-f37072fd.pth"
        path.write_bytes(b"something else")
        with pytest.raises(UserError, match="f37072fd"):
            load_teacher("resnet18", str(path))

    def test_name_with_the_right_hash(self, tmp_path):
        digest = hashlib.sha256(b"x").hexdigest()
        path = tmp_path / f"w-{digest[:8]}.pth"
        path.write_bytes(b"x")
        check_hash(path)

    def test_unknown_backbone(self):
        with pytest.raises(UserError, match="Did you mean 'wide_resnet50_2'"):
            load_teacher("wide_resnet50", "imagenet")

    def test_offline_names_address_and_path(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DTSNET_JAX_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(sources, "TORCHVISION_ADDRESS", "http://localhost:9/models/")
        name = "wide_resnet50_2-95faca4d.pth"
        with pytest.raises(UserError) as error:
            find_weights("wide_resnet50_2", "imagenet")
        assert f"http://localhost:9/models/{name}" in str(error.value)
        assert str(tmp_path / "cache" / name) in str(error.value)
        assert not list((tmp_path / "cache").iterdir())

    def test_download_arrives_whole_and_checked_or_never(self, tmp_path):
        served = tmp_path / "served"
        buffer = io.BytesIO()
        torch.save({"w": torch.ones(2)}, buffer)
        served.write_bytes(buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        good = tmp_path / "cache" / f"w-{digest[:8]}.pth"
        download(served.as_uri(), good)
        assert read_state_dict(good)["w"].sum() == 2
        bad = tmp_path / "cache" / "w-00000000.pth"
        with pytest.raises(UserError, match="00000000"):
            download(served.as_uri(), bad)
        assert [path.name for path in bad.parent.iterdir()] == [good.name]
