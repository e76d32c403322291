"""Memory that is given back between operations has to be faulted in again: it is kept while passes run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["kept_memory"]

# Parameters of glibc's mallopt(3), and what its own adjustment of them ends with in a process of large tensors.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep freed memory instead of giving it back to the system after every operation.

    A fresh tensor of some megabytes costs several times its arithmetic in page faults. Only under glibc;
    elsewhere nothing is done. What was kept is given back at the end.
    """
    library = _glibc()
    if library is None:
        yield
        return
    for name, value in _KEPT.items():
        library.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _USUAL.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


def _glibc() -> Any:
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError):
        return None
