"""`StoredWeights`: the weights of a model on disk, one tensor at a time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from chatdoctor_hub.errors import ModelFormatError

if TYPE_CHECKING:
    import torch

__all__ = ["StoredWeights"]


class StoredWeights:
    """The safetensors of a folder, in one file or several; nothing is read before it is asked for.

    Args:
        folder: of the model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> dict[str, Path]:
        """Name of each tensor -> the file that it is in.

        Raises:
            ModelFormatError: when there are none, or they are torn.
        """
        from safetensors import SafetensorError, safe_open

        found: dict[str, Path] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(file, framework="pt") as opened:
                    found.update(dict.fromkeys(opened.keys(), file))
            except (SafetensorError, OSError) as error:
                raise ModelFormatError(
                    f"{file}: expected whole safetensors, found torn ones; fetch the model again."
                ) from error
        if not found:
            raise ModelFormatError(
                f"{self.folder}: expected weights in safetensors, found none; use another model."
            )
        return found

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor by its name; a prefix that only some files have ("model.", "transformer.") may differ.

        Raises:
            ModelFormatError: when there is none, or more than one could be meant.
        """
        from safetensors import safe_open

        found = self._stored(name)
        with safe_open(self.files[found], framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(found)
        return tensor

    def dtypes(self) -> dict[str, int]:
        """Number type in safetensors' spelling -> how many numbers are held in it."""
        from math import prod

        from safetensors import safe_open

        held: dict[str, int] = {}
        for file in sorted(set(self.files.values())):
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    part = opened.get_slice(name)
                    held[part.get_dtype()] = held.get(part.get_dtype(), 0) + prod(part.get_shape())
        return held

    def _stored(self, name: str) -> str:
        if name in self.files:
            return name
        tail = name.partition(".")[2]
        meant = [other for other in self.files if other == tail or other.endswith(f".{name}")]
        if len(meant) != 1:
            raise ModelFormatError(
                f"{self.folder}: expected a weight {name}, found {'none' if not meant else 'several'} of that "
                "name; name a model of the same architecture."
            )
        return meant[0]
