"""Loading tokenizers and models: from folders, safetensors only, no code from a model's repository."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import MissingExtraError, ModelFormatError

if TYPE_CHECKING:
    import torch

__all__ = ["first_line", "load_model", "load_tokenizer", "require_extra", "without_bars"]


def require_extra(*packages: str, extra: str) -> None:
    """Make sure that optional packages are there; Ctrl-C waits until they are loaded.

    Raises:
        MissingExtraError: naming the first that is not, and the extra to install.
    """
    for package in packages:
        if sys.modules.get(package):
            continue
        try:
            with _uninterrupted():
                importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(package, extra) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C inside comes out when the block ends: torch aborts the process when it falls into its loading."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: arrived.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived:
            before(*arrived[0])


@contextmanager
def without_bars() -> Iterator[None]:
    """Inside, transformers shows no progress bars of its own."""
    require_extra("transformers", extra="local")
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        ModelFormatError: when there is none that transformers can load.
    """
    from transformers import AutoTokenizer

    return _read(AutoTokenizer, folder, "tokenizer")


def load_model(folder: Path, dtype: torch.dtype, **how: Any) -> Any:
    """The causal language model in a folder, in evaluation mode; on the CPU, unless `how` says otherwise.

    Args:
        folder: where its files are.
        dtype: of its weights.
        **how: more for transformers' `from_pretrained`, such as a quantization.

    Raises:
        ModelFormatError: when the files are not those of a causal language model in safetensors, whole.
    """
    from transformers import AutoModelForCausalLM

    what = "causal language model in safetensors"
    options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True, **how}
    model, info = _read(AutoModelForCausalLM, folder, what, **options)
    # transformers would go on with random numbers in their place.
    if missing := sorted(info["missing_keys"]):
        raise ModelFormatError(
            f"{folder}: expected all weights of a {what}, found {len(missing)} missing ({missing[0]} among them); "
            "fetch the model again or use another."
        )
    return model.eval()


def _read(kind: Any, folder: Path, what: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    # Torn files raise errors of safetensors and tokenizers that derive from Exception and nothing else.
    except Exception as error:
        raise ModelFormatError(
            f"{folder}: expected the files of a {what}, found something transformers cannot load "
            f"({first_line(error)}); check the folder or use another model."
        ) from error


def first_line(error: Exception) -> str:
    """What an error of another library is and says, in one line."""
    said = (str(error).strip().splitlines() or ["no details"])[0]
    return f"{type(error).__name__}: {said[:200].rstrip('.')}"
