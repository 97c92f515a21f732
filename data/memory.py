"""Says how many bytes the decoded images will take, before any is decoded."""

from pathlib import Path

import psutil

from data.errors import DataError

_CGROUP = Path("/sys/fs/cgroup")  # a container's limit, where there is one
_SHARE = 0.9  # of the free memory that may be planned for


def image_bytes(count: int, size: int, *, channels: int = 3) -> int:
    """Bytes of ``count`` uint8 images of size × size pixels."""
    return count * size * size * channels


def training_bytes(count: int, size: int, *, channels: int = 3) -> int:
    """Bytes of images to train on: the decoded array, and TensorFlow's copy that it draws from."""
    return 2 * image_bytes(count, size, channels=channels)


def free_memory() -> int:
    """Bytes that can still be taken, by the machine's or the container's account."""
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    return min(free, limit - used)


def plan_memory(parts: dict[str, int]) -> None:
    """Prints what is about to be kept in memory, and refuses what would not fit.

    Args:
      parts: bytes by what they are for.

    Raises:
      DataError: together they exceed nine tenths of the free memory.
    """
    total, free = sum(parts.values()), free_memory()
    listed = ", ".join(f"{name} {format_bytes(count)}" for name, count in parts.items() if count)
    print(f"memory: {listed}; {format_bytes(free)} free")
    if total > _SHARE * free:
        raise DataError(
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
