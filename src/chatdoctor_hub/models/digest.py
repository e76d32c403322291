"""The digest of a model: what its files hold, wherever they lie."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

__all__ = ["digest_of"]

_FILES = ("config.json", "adapter_config.json", "generation_config.json", "tokenizer.json", "*.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def digest_of(folder: Path) -> str:
    """sha256 (hex) over the names and contents of a model's config, tokenizer and weights.

    In the Hub's cache large files are stored under their sha256, which is then taken as it stands.
    """
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in folder.glob(pattern) if file.is_file()}):
        digest.update(f"{file.name}\0{_content(file)}\0".encode())
    return digest.hexdigest()


def _content(file: Path) -> str:
    blob = file.resolve().name
    if file.is_symlink() and _SHA256.fullmatch(blob):
        return blob
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
