"""`open_bytes`: a file's bytes, decompressed on the way, bounded against archives made to fill a machine."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from chatdoctor_hub.errors import MissingExtraError

__all__ = ["ArchiveError", "open_bytes"]

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 18
# Text compresses by a factor of 3 to 30; what is written to fill a machine, by 1,000 and more.
_HIGHEST_RATIO = 200
_ALWAYS_ALLOWED = 64 * 1024 * 1024


class ArchiveError(Exception):
    """A compressed file that ends early, is damaged, or expands beyond all measure; the message says which."""


class _Expanding(io.RawIOBase):
    """What a decompressor gives, as long as it stays in proportion to the file."""

    def __init__(self, inner: Any, size: int) -> None:
        self._inner = inner
        self._room = max(_ALWAYS_ALLOWED, size * _HIGHEST_RATIO)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            raise ArchiveError("the compressed data end early or are damaged") from error
        self._room -= len(data)
        if self._room < 0:
            raise ArchiveError(
                f"the compressed data expand to more than {_HIGHEST_RATIO} times the size of the file"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; gzip and Zstandard are told from the first bytes and decompressed.

    Raises:
        OSError, ValueError: as `open` does.
        MissingExtraError: for Zstandard, without pyarrow.

    Reading raises ArchiveError.
    """
    file = path.open("rb", buffering=_BUFFER)
    head = file.read(4)
    file.seek(0)
    inner: Any
    if head.startswith(_GZIP):
        inner = gzip.GzipFile(fileobj=file)
    elif head == _ZSTD:
        inner = _zstd(path, file)
    else:
        return file
    return io.BufferedReader(_Expanding(inner, path.stat().st_size), _BUFFER)


def _zstd(path: Path, file: Any) -> Any:
    file.close()
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "corpus") from None
    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path), "rb"), "zstd")
