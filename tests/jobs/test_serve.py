"""A server as users start it: what it refuses, and how it ends."""

import signal
import socket
import time

import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.serve import ServingOptions, serve
from dtsnet_jax.jobs.train import train
from dtsnet_jax.serving.detectors import ServedDetectors
from tests.helpers import launch, photograph, small_config
from tests.serving.conftest import png


@pytest.fixture
def run(own_images, tmp_path):
    config = small_config(own_images, detector="knn", knn__coreset_size=40)
    train(config, tmp_path / "run")
    return tmp_path / "run"


def test_what_is_begun_is_finished(run, tmp_path):
    """A request of which half has come when the server is told to end is still answered."""
    process = launch("--job=serve", f"--workdir={run}", "--port=0")
    address = process.stdout.readline().split("http://")[1].split()[0]
    host, port = address.rsplit(":", 1)
    boundary = b"--x\r\n"
    disposition = b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = boundary + disposition + png(photograph(1)) + b"\r\n--x--\r\n"
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body[:100])
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body[100:])
        answer = b""
        while b"}]" not in answer and (more := connection.recv(4096)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200") and b'"score"' in answer
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and printed.splitlines()[-1] == "ended", errors
    assert not (run / "served").exists()


def test_addresses_that_cannot_be_are_refused(run, tmp_path, monkeypatch):
    detectors = ServedDetectors(run, tmp_path)

    def refusal(host, port):
        options = ServingOptions(host, port, tmp_path, 64, tmp_path / "predictions")
        with pytest.raises(UserError) as refused:
            serve(detectors, options)
        return str(refused.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "--port" in refusal("127.0.0.1", taken.getsockname()[1])
    assert "DTSNET_TOKEN has 0 characters" in refusal("no.such.host.invalid", 0)
    monkeypatch.setenv("DTSNET_TOKEN", "short")
    assert "DTSNET_TOKEN has 5 characters" in refusal("0.0.0.0", 0)
