"""The memory that a process can still have on a device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["free_memory"]

_UNKNOWN_SHARE = 0.5  # of all memory, where no system says what is free


def free_memory(device: torch.device | str) -> int:
    """Bytes that a process can still have on a device; half of all memory where the system does not say.

    On Linux the least of what the machine and the control groups of this process leave.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    found = [
        value for value in (_available(Path("/proc/meminfo")), _of_group(Path("/"))) if value is not None
    ]
    return min(found) if found else int(_UNKNOWN_SHARE * _installed())


def _available(file: Path) -> int | None:
    for line in _lines(file):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_group(root: Path) -> int | None:
    """What the control groups of this process leave, those above its own among them; None without a limit."""
    base, found = root / "sys/fs/cgroup", []
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, path = line.split(":", 2)
        own = Path(path.strip("/"))
        if not kinds:
            places, names = [base / part for part in (own, *own.parents)], ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):
            places = [base / "memory" / part for part in (own, *own.parents)]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        for place in places:
            limit, used = (_number(place / name) for name in names)
            if limit is not None and used is not None:
                found.append(limit - used + _reclaimable(place / "memory.stat"))
    return max(0, min(found)) if found else None


def _reclaimable(file: Path) -> int:
    """Bytes of files in the cache, which count as used but are given up when they are needed."""
    for line in _lines(file):
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.strip().isdigit():
            return int(value)
    return 0


def _number(file: Path) -> int | None:
    for line in _lines(file):
        return int(line) if line.strip().isdigit() else None
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _installed() -> int:
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 8 * 2**30
