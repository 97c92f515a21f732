"""Weights files: every layout reads alike, everything wrong is refused by name."""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch
from flax import nnx

from dtsnet_jax.errors import UserError
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.weights import sources
from dtsnet_jax.weights.convert import load_state_dict
from dtsnet_jax.weights.sources import check_hash, find_weights
from dtsnet_jax.weights.state_dict import read_state_dict
from dtsnet_jax.weights.teacher import load_encoder, load_teacher
from tests.parity.reference import torch_resnet


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


@pytest.fixture(scope="module")
def resnet18():
    """A state dict of torchvision's ResNet18, random."""
    return torch_resnet("resnet18").state_dict()


class TestConversion:
    def load(self, state_dict, **replaced):
        encoder = nnx.eval_shape(lambda: build_encoder("resnet18", rngs=nnx.Rngs(0)))
        arrays = {name: tensor.numpy() for name, tensor in state_dict.items()} | replaced
        load_state_dict(encoder, arrays, source="w.pth")

    def test_missing_tensor(self, resnet18):
        missing = "layer2.0.downsample.1.running_var"
        with pytest.raises(UserError, match=r"lacks.*layer2\.0\.downsample\.1\.running_var"):
            self.load({name: tensor for name, tensor in resnet18.items() if name != missing})

    def test_misshapen_tensor(self, resnet18):
        with pytest.raises(
            UserError, match=r"conv1\.weight.*\(64, 3, 3, 3\).*expected \(64, 3, 7, 7"
        ):
            self.load(resnet18, **{"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)})

    def test_values_that_are_not_finite(self, resnet18):
        with pytest.raises(UserError, match=r"bn1\.bias.*not finite"):
            self.load(resnet18, **{"bn1.bias": np.full(64, np.nan, np.float32)})


class TestTeacher:
    def test_digits_in_a_users_file_name_may_be_a_date(self, tmp_path, resnet18):
        path = tmp_path / "resnet18-20240115.pth"
        torch.save(resnet18, path)
        encoder = load_encoder("resnet18", path)
        expected = resnet18["conv1.weight"].numpy().transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(encoder.conv1.kernel[...], expected)

    def test_a_teacher_lies_on_the_devices_and_knows_its_files_hash(self, tmp_path, resnet18):
        path = tmp_path / "mine.pth"
        torch.save(resnet18, path)
        teacher = load_teacher("resnet18", str(path))
        assert teacher.digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(teacher.arrays))
        bias = teacher.arrays["layer3"]["blocks"][1]["bn2"]["bias"]
        np.testing.assert_array_equal(bias, resnet18["layer3.1.bn2.bias"])
        assert bias.devices() == set(jax.devices())

    def test_no_weights_are_drawn_only_to_be_replaced(self, tmp_path, resnet18, monkeypatch):
        def computed(*_, **__):
            raise AssertionError("something was computed")

        path = tmp_path / "mine.pth"
        torch.save(resnet18, path)
        monkeypatch.setattr(jax._src.compiler, "compile_or_get_cached", computed)
        load_encoder("resnet18", path)

    def test_unknown_backbone(self):
        with pytest.raises(UserError, match="Did you mean 'wide_resnet50_2'"):
            load_teacher("wide_resnet50", "imagenet")


class TestSources:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DTSNET_JAX_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    @pytest.fixture
    def published(self, server, monkeypatch):
        """The file of ResNet18's weights on the server, its name with the hash of its content."""
        buffer = io.BytesIO()
        torch.save({"w": torch.ones(2)}, buffer)
        digits = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
        path = server.directory / f"resnet18-{digits}.pth"
        path.write_bytes(buffer.getvalue())
        monkeypatch.setattr(sources, "TORCHVISION_ADDRESS", server.address)
        monkeypatch.setitem(sources.TORCHVISION_FILES, "resnet18", path.name)
        monkeypatch.setitem(sources._PROMISED, path.name, digits)
        return path

    def files(self, cache):
        return [path.name for path in cache.iterdir() if path.name != ".locks"]

    def test_a_published_name_with_another_content(self, tmp_path):
        path = tmp_path / "resnet18-f37072fd.pth"
        path.write_bytes(b"something else")
        with pytest.raises(UserError, match="f37072fd"):
            load_teacher("resnet18", str(path))

    def test_a_hash_that_begins_as_it_should(self, tmp_path):
        path = tmp_path / "w.pth"
        path.write_bytes(b"x")
        digest = hashlib.sha256(b"x").hexdigest()
        for digits in ("", digest[:8], digest):
            check_hash(path, digits)
        with pytest.raises(UserError, match=digest[1:9]):
            check_hash(path, digest[1:9])

    def test_no_such_file(self, tmp_path):
        with pytest.raises(UserError, match=r"mine\.pth', but there is no such file"):
            find_weights("resnet18", str(tmp_path / "mine.pth"))

    def test_offline_names_address_and_path(self, cache, monkeypatch):
        monkeypatch.setattr(sources, "TORCHVISION_ADDRESS", "http://localhost:9/models/")
        name = "wide_resnet50_2-95faca4d.pth"
        with pytest.raises(UserError) as error:
            find_weights("wide_resnet50_2", "imagenet")
        assert f"http://localhost:9/models/{name}" in str(error.value)
        assert str(cache / name) in str(error.value)
        assert self.files(cache) == []

    def test_weights_are_downloaded_once(self, server, published, cache):
        for _ in range(2):
            path = find_weights("resnet18", "imagenet")
            assert path == cache / published.name
            assert read_state_dict(path)["w"].sum() == 2
        assert server.requests == [f"/{published.name}"]
        assert self.files(cache) == [published.name]

    def test_a_download_with_another_content_never_arrives(self, published, cache):
        published.write_bytes(published.read_bytes() + b"x")
        with pytest.raises(UserError, match=published.stem.rpartition("-")[2]):
            find_weights("resnet18", "imagenet")
        assert self.files(cache) == []

    def test_a_download_that_is_cut_short_never_arrives(self, server, published, cache):
        server.cut_short = True
        with pytest.raises(UserError, match=r"could not be fetched.*put it at"):
            find_weights("resnet18", "imagenet")
        assert self.files(cache) == []
        server.cut_short = False
        assert find_weights("resnet18", "imagenet").read_bytes() == published.read_bytes()
