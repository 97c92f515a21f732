"""A server under load: twice as many requests as it takes, then a thousand broken ones.

    python -m benchmarks.serving --workdir=runs/demo-robust --images=DIR [--minutes=10]

Starts the server on a port of its own. Clients send a photograph each, and the next one when the
answer has come, or after half the time that a 503 tells them to wait; there are twice as many as
requests may be under way.
"""

import argparse
import asyncio
import collections
import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import numpy as np
import psutil
from PIL import Image

from dtsnet_jax.serving.guard import UNDER_WAY

CLIENTS = 2 * UNDER_WAY


def start(workdir: Path) -> tuple[subprocess.Popen, str]:
    """Starts a server; returns it and its address."""
    command = [sys.executable, "launch.py", "--job=serve", f"--workdir={workdir}", "--port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().split(" on ")[1].split()[0]


async def send(client: httpx2.AsyncClient, name: str, content: bytes) -> httpx2.Response:
    """Sends a photograph."""
    return await client.post("/predict", files={"files": (name, content)})


async def load(url: str, photographs: list[bytes], minutes: float, server: psutil.Process) -> None:
    """Sends for so long, and prints what became of it."""
    end = time.monotonic() + 60 * minutes
    statuses: collections.Counter[int] = collections.Counter()
    seconds: list[float] = []
    memory: list[float] = []
    choose = random.Random(0)

    async def one_client(client: httpx2.AsyncClient) -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            answer = await send(client, "part.png", choose.choice(photographs))
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                await asyncio.sleep(float(answer.headers["Retry-After"]) / 2)
            else:
                seconds.append(time.monotonic() - begun)

    async def watch_memory() -> None:
        while time.monotonic() < end:
            memory.append(server.memory_info().rss / 2**20)
            await asyncio.sleep(5)

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        clients = [one_client(client) for _ in range(CLIENTS)]
        await asyncio.gather(watch_memory(), *clients)
    print(f"{CLIENTS} clients, {minutes:g} minutes, status: {dict(statuses)}")
    print(f"scored: {len(seconds) / (60 * minutes):.1f} a second")
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    print(f"seconds to an answer: p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}")
    tenths = np.array_split(memory, min(10, len(memory)))
    print("memory in MiB, by tenths:", *(f"{tenth.max():.0f}" for tenth in tenths))


def broken(number: int, photograph: bytes) -> tuple[str, bytes]:
    """A name and what is no photograph, or none that can be taken."""
    choose = random.Random(number)
    kind = number % 6
    if kind == 0:
        return f"{number}.png", photograph[: choose.randrange(len(photograph) // 2)]
    if kind == 1:
        return f"{number}.pgm", b"P5 50000 50000 255\n" + bytes(1000)
    if kind == 2:
        return f"{number}.jpg", choose.randbytes(choose.randrange(1, 5000))
    if kind == 3:
        return f"{number}.png", b""
    if kind == 4:
        return f"../../{number}\x00/..\\etc\\passwd", b"root:x:0:0"
    bomb = io.BytesIO()
    Image.new("1", (50_000, 10_000)).save(bomb, "png")
    return f"{number}.png", bomb.getvalue()


async def send_broken(url: str, photograph: bytes, count: int) -> None:
    """Sends broken photographs, and prints what was said of them."""
    statuses: collections.Counter[int] = collections.Counter()
    async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
        for number in range(count):
            answer = await send(client, *broken(number, photograph))
            content = answer.json()
            error = content[0]["error"] if isinstance(content, list) else content["error"]
            statuses[answer.status_code] += 1
            assert error and "Traceback" not in error and len(error.splitlines()) == 1
        healthy = (await client.get("/health")).json()["status"]
        scored = (await send(client, "part.png", photograph)).json()[0]["score"]
    print(f"{count} broken photographs: a sentence each, status {dict(statuses)}")
    print(f"then: {healthy}, score {scored:.3f}")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--broken", type=int, default=1000)
    options = parser.parse_args()
    photographs = [path.read_bytes() for path in sorted(options.images.glob("*.*"))[:50]]
    server, url = start(options.workdir)
    try:
        process = psutil.Process(server.pid)
        asyncio.run(load(url, photographs, options.minutes, process))
        asyncio.run(send_broken(url, photographs[0], options.broken))
        print(f"memory at the end: {process.memory_info().rss / 2**20:.0f} MiB")
    finally:
        server.send_signal(signal.SIGTERM)
        print(f"exit code after SIGTERM: {server.wait(120)}")


if __name__ == "__main__":
    main()
