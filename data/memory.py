"""Says how many bytes the decoded images will take, before any is decoded."""

from pathlib import Path

import psutil

from dtsnet_jax.errors import UserError

_CGROUP = Path("/sys/fs/cgroup")  # a container's limit, where there is one
_SHARE = 0.9  # of the free memory that may be planned for


def image_bytes(count: int, size: tuple[int, int], *, channels: int = 3) -> int:
    """Bytes of ``count`` uint8 images of height × width pixels."""
    return count * size[0] * size[1] * channels


def training_bytes(count: int, size: tuple[int, int], *, channels: int = 3) -> int:
    """Bytes of images to train on: the decoded array, and TensorFlow's copy that it draws from."""
    return 2 * image_bytes(count, size, channels=channels)


def free_memory() -> int:
    """Bytes that can still be taken, by the machine's or the container's account.

    A container counts the files that it has read as used memory; what of them has not been touched
    for a while (``inactive_file``) is given back as soon as it is needed.
    """
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    return min(free, limit - used + int(counts.get("inactive_file", 0)))


def plan_memory(parts: dict[str, int], *, processes: int) -> None:
    """Prints what is about to be kept in memory, and refuses what would not fit.

    Args:
      parts: bytes of one process by what they are for.
      processes: how many processes of this machine are about to keep as much.

    Raises:
      UserError: together they exceed nine tenths of the free memory.
    """
    total, free = processes * sum(parts.values()), free_memory()
    listed = ", ".join(f"{name} {format_bytes(count)}" for name, count in parts.items() if count)
    if processes > 1:
        listed += f", in each of {processes} processes"
    print(f"memory: {listed}; {format_bytes(free)} free")
    if total > _SHARE * free:
        raise UserError(
            f"the decoded images need {format_bytes(total)} ({listed}), but {format_bytes(free)} "
            "are free; choose a smaller --config.data.image_size, fewer images or textures, or a "
            "machine with more memory."
        )


def format_bytes(count: int) -> str:
    """A number of bytes for people, such as '1.4 GB'."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
