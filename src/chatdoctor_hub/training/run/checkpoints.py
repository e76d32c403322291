"""Checkpoints of a run in a folder: each is written whole or not at all, and read only when it is whole."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.shards import file_digest
from chatdoctor_hub.errors import ConfigError, DiskSpaceError, TrainingError
from chatdoctor_hub.folders import replacing_folder

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "Checkpoints", "has_checkpoint"]

_STATE, _DIGESTS, _TENSORS = "state.json", "digests.json", ".safetensors"
_NAME = re.compile(r"step-(\d{8,})")
_KEPT = 2  # the newest ones
_SYSTEM_ERROR = re.compile(r"os error (\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was after a step.

    Args:
        folder: where it lies.
        step: how many steps were done.
        state: what JSON holds of it.
    """

    folder: Path
    step: int
    state: Mapping[str, Any]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Its "weights", or the state of its "optimizer"."""
        from safetensors.torch import load_file

        found: dict[str, torch.Tensor] = load_file(self.folder / f"{name}{_TENSORS}")
        return found


class Checkpoints:
    """The checkpoints of one run: the newest two, and the ones whose weights these call the best.

    Args:
        folder: for them alone; made when the first one is written.
        key: says which recipe, data and base they belong to.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key

    def newest(self) -> Checkpoint | None:
        """The newest that is whole; torn ones are passed over.

        Raises:
            ConfigError: when it belongs to another run.
        """
        found = _newest(self.folder)
        if found is not None and found.state.get("key") != self._key:
            raise ConfigError(
                f"{self.folder}: expected checkpoints of this recipe, found those of another one (its settings, "
                "its data or its base differ); start afresh (fresh=True, or --fresh), or go back to that recipe."
            )
        return found

    def at(self, step: int) -> Checkpoint:
        """The one that was written after so many steps.

        Raises:
            TrainingError: when it is gone or torn.
        """
        found = _read(self.folder / _name(step))
        if found is None:
            raise TrainingError(
                f"{self.folder}: expected the checkpoint of step {step}, whose weights are the best, found none "
                "that is whole; start afresh."
            )
        return found

    def write(
        self, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Write a checkpoint, then remove those that are no longer needed.

        Args:
            step: how many steps were done.
            tensors: by the name of a file, what it holds.
            state: what JSON can hold; "best", if it is there, is a step whose checkpoint is kept too.

        Raises:
            DiskSpaceError: when the disk is full; what was there before is there still.
            DataError: when the folder cannot be written for another reason.
        """
        out = self.folder / _name(step)
        try:
            with replacing_folder(out, what="checkpoint") as new:
                for name, content in tensors.items():
                    _write_tensors(content, new / f"{name}{_TENSORS}")
                whole = json.dumps({**state, "step": step, "key": self._key})
                (new / _STATE).write_text(whole, encoding="utf-8")
                digests = {path.name: file_digest(path) for path in sorted(new.iterdir())}
                (new / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        except DiskSpaceError as error:
            raise DiskSpaceError(
                f"Expected room on the disk for a checkpoint of step {step} in {self.folder}, found it full; free "
                f"some space and run this again{self.kept()}."
            ) from error
        self._remove_old()

    def kept(self) -> str:
        """Where a new run would begin, for the end of a message."""
        found = _newest(self.folder)
        return f": it goes on from step {found.step}, which is kept in {found.folder}" if found else ""

    def forget_after(self, step: int) -> None:
        """Remove what is left of steps that come later; they are done again."""
        for number in _steps(self.folder):
            if number > step:
                shutil.rmtree(self.folder / _name(number), ignore_errors=True)

    def _remove_old(self) -> None:
        steps = sorted(_steps(self.folder))
        needed = set(steps[-_KEPT:])
        needed |= {best for step in steps[-_KEPT:] if (best := _best(self.folder / _name(step))) is not None}
        for step in set(steps) - needed:
            shutil.rmtree(self.folder / _name(step), ignore_errors=True)


def has_checkpoint(work: Path) -> bool:
    """Whether a whole checkpoint lies there, of whatever recipe."""
    return _newest(work) is not None


def _newest(folder: Path) -> Checkpoint | None:
    ordered = sorted(_steps(folder), reverse=True)
    return next((found for step in ordered if (found := _read(folder / _name(step)))), None)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _steps(folder: Path) -> Collection[int]:
    if not folder.is_dir():
        return ()
    return [int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]


def _read(folder: Path) -> Checkpoint | None:
    """None for one that is torn: a file is missing, or is not as it was written."""
    try:
        digests = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
        if _STATE not in digests or any(file_digest(folder / name) != digests[name] for name in digests):
            return None
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Checkpoint(folder, int(state["step"]), state)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _best(folder: Path) -> int | None:
    try:
        found = json.loads((folder / _STATE).read_text(encoding="utf-8")).get("best")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def _write_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), file)
    except SafetensorError as error:
        # Its errors have no number but in their words.
        found = _SYSTEM_ERROR.search(str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(file)) from error
