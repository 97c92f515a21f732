from types import SimpleNamespace

import psutil
import pytest

import data.memory
from data.memory import format_bytes, free_memory, plan_memory, training_bytes
from dtsnet_jax.errors import UserError

MB = 10**6


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Sets what the machine and the container, if any, say about memory."""

    def set_up(available: int, **files: object) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
        monkeypatch.setattr(data.memory, "_CGROUP", tmp_path)
        for name, content in files.items():
            (tmp_path / f"memory.{name}").write_text(f"{content}\n")

    return set_up


def test_files_that_a_container_has_read_are_free_memory(container):
    stat = f"anon {200 * MB}\nfile {700 * MB}\ninactive_file {600 * MB}\nactive_file {100 * MB}"
    container(5000 * MB, max=1000 * MB, current=900 * MB, stat=stat)
    assert free_memory() == 700 * MB


def test_the_machine_may_have_less_than_the_container_allows(container):
    container(50 * MB, max=1000 * MB, current=0, stat="inactive_file 0")
    assert free_memory() == 50 * MB


def test_without_a_limit_the_machine_counts(container):
    container(50 * MB)
    assert free_memory() == 50 * MB
    container(50 * MB, max="max", current=900 * MB, stat="inactive_file 0")
    assert free_memory() == 50 * MB


def test_what_fits_once_is_refused_to_several_processes(container, capsys):
    container(1000 * MB)
    parts = {"7 images": 200 * MB, "masks": 50 * MB, "textures": 0}
    plan_memory(parts, processes=1)
    assert capsys.readouterr().out == "memory: 7 images 200.0 MB, masks 50.0 MB; 1.0 GB free\n"
    plan_memory(parts, processes=3)
    with pytest.raises(
        UserError, match=r"need 1\.0 GB \(7 images .*, in each of 4 processes\), but 1\.0 GB are"
    ):
        plan_memory(parts, processes=4)


def test_a_tenth_of_the_free_memory_is_left(container):
    container(1000 * MB)
    plan_memory({"images": 900 * MB}, processes=1)
    with pytest.raises(UserError, match=r"need 901\.0 MB"):
        plan_memory({"images": 901 * MB}, processes=1)


def test_training_needs_its_images_twice():
    assert training_bytes(10, (32, 16)) == 2 * 10 * 32 * 16 * 3
    assert training_bytes(10, (32, 16), channels=1) == 2 * 10 * 32 * 16


def test_bytes_are_written_for_people():
    assert [format_bytes(n) for n in (999, 1500, 2 * MB, 1_440_000_000)] == [
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "1.4 GB",
    ]
