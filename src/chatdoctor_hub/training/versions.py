"""Versions of what results depend on."""

from __future__ import annotations

import importlib.metadata
import platform

from chatdoctor_hub import __version__

__all__ = ["versions"]

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "huggingface_hub", "safetensors")


def versions() -> dict[str, str]:
    """Of Python, of this package and of those that results depend on; what is not installed is left out."""
    found = {"python": platform.python_version(), "chatdoctor-hub": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
