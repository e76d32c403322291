"""`merge_run`: the weights of a run as one plain model, checked against base and adapter."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError, ModelFormatError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.models import (
    digest_of,
    first_line,
    load_model,
    load_tokenizer,
    locate,
    require_extra,
    without_bars,
)
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.run_folder import RunFolder, RunManifest
from chatdoctor_hub.training.weights.agreement import Agreement, agreement_of, logits_on, probe_ids
from chatdoctor_hub.training.weights.saving import save_serving_tokenizer, stored_dtype, write_model
from chatdoctor_hub.training.weights.stored import StoredWeights

__all__ = ["MergeReport", "base_of", "merge_adapter", "merge_run"]

# Of `relative`: what rounding alone makes of the logits, with room to spare.
_TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
# Of `update`, before anything is rounded; what is smaller than float32's own noise is let pass.
_OF_UPDATE, _NOISE = 1e-2, 1e-5
_HALF_LOST = 0.5  # of `update`, as it is written: said in the note


@dataclass(frozen=True)
class MergeReport:
    """How merged weights were made and what they are worth.

    Args:
        dtype: of the weights as written, that of the base.
        exact: merged against base with adapter, both float32, before anything was rounded.
        saved: as read back from disk, in its dtype, against base with adapter in float32; its `update` is
            the share of the tuning that rounding to that dtype has cost.
        tolerances: the largest `relative` that was allowed for each. Besides, `exact.update` is at most 0.01,
            and every weight on disk is the merged one, rounded.
        note: what else is to be known; "" for nothing.
    """

    dtype: str
    exact: Agreement
    saved: Agreement
    tolerances: dict[str, float]
    note: str = ""

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "dtype": self.dtype,
            "exact": self.exact.to_record(),
            "saved": self.saved.to_record(),
            "tolerances": dict(self.tolerances),
            "note": self.note,
        }


def merge_run(run: RunFolder | str | PathLike[str], out: str | PathLike[str]) -> MergeReport:
    """Write a run's weights as one model in the base's dtype, with the tokenizer in the serving form.

    The logits of the merged model, before and after it was written, are compared with those of base and
    adapter; a model that is off is not kept. Needs the base in float32 in memory.

    Args:
        run: a run, or its folder. One in which every weight was tuned is copied.
        out: a new folder, or that of an earlier merge; whole or not at all.

    Raises:
        DataNotFoundError, DataFormatError: when it is no run, or `out` is something else.
        ModelNotFoundError, ModelFormatError: when the base is gone or another, when no plain weights equal
            the adapted ones (a non-linear bottleneck, one beside a whole block, a prefix), or when the merged
            model is off.
    """
    require_extra("torch", "transformers", "peft", extra="train")
    run = run if isinstance(run, RunFolder) else RunFolder.open(Path(run))
    manifest = run.manifest
    pair = PromptPair.from_record(manifest.prompt, str(run.path / "run.json"))
    if manifest.recipe.adapter.kind == "full":
        return _copy(run.model, run.tokenizer, pair, Path(out))
    note = ""
    if manifest.recipe.training.quantization != "none":
        note = (
            f"The adapter was trained on a base in {manifest.recipe.training.quantization}; it is merged into, and "
            "compared with, the base as it was before."
        )
    return merge_adapter(base_of(manifest), run.adapter, run.tokenizer, pair, Path(out), note=note)


@without_bars()
def merge_adapter(
    base: Path, adapter: Path, tokenizer: Path, pair: PromptPair, out: Path, *, note: str = ""
) -> MergeReport:
    """As `merge_run`, from the parts of a run that has no manifest yet."""
    import torch

    _check_can_merge(adapter)
    dtype = stored_dtype(base)
    words = load_tokenizer(tokenizer)
    probes = probe_ids(words, pair)
    model = _with_adapter(load_model(base, torch.float32), adapter)
    expected = logits_on(model, probes)
    with model.disable_adapter():
        untuned = logits_on(model, probes)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ChatDoctorError:
        raise
    except ValueError as error:
        raise ModelFormatError(
            f"{adapter}: expected an adapter that can be merged, found one that cannot ({first_line(error)}); "
            "serve it as it is."
        ) from error
    exact = agreement_of(logits_on(merged, probes), expected, untuned)
    _check(exact, "float32", out)
    if exact.update > _OF_UPDATE and exact.relative > _NOISE:
        raise _off(out, f"{_OF_UPDATE:g} of what the adapter changes", f"{exact.update:.2g}")
    with replacing_folder(out, what="merged model", marker="config.json") as new:
        write_model(merged, merged.state_dict(), new, dtype)
        _check_written(merged, new, dtype, out)
        del model, merged
        save_serving_tokenizer(words, pair, new)
        saved = agreement_of(logits_on(load_model(new, dtype), probes), expected, untuned)
        name = str(dtype).removeprefix("torch.")
        _check(saved, name, out)
    if saved.update > _HALF_LOST:
        lost = (
            f"Rounding to {name} changes the logits {saved.update:.2g} times as much as the tuning did: serve the "
            "adapter as it is, or tune for longer."
        )
        note = " ".join(part for part in (note, lost) if part)
    tolerances = {"exact": _TOLERANCES["float32"], "saved": _TOLERANCES[name]}
    return MergeReport(name, exact, saved, tolerances, note)


def base_of(manifest: RunManifest) -> Path:
    """The folder of the base that a run was tuned from.

    Raises:
        ModelNotFoundError: when it is gone.
        ModelFormatError: when there is another now.
    """
    folder = Path(manifest.base.path)
    folder = folder if folder.is_dir() else locate(manifest.base.id)
    if digest_of(folder) != manifest.base.digest:
        raise ModelFormatError(
            f"{folder}: expected the base model that the run was tuned from, found another digest; fetch that "
            "one or run the recipe again."
        )
    return folder


def _check_can_merge(adapter: Path) -> None:
    """From the adapter's config alone, before the base is loaded."""
    require_extra("peft", extra="train")
    from peft import PeftConfig

    from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig

    try:
        config = PeftConfig.from_pretrained(str(adapter))
    except Exception as error:
        raise ModelFormatError(
            f"{adapter}: expected a saved adapter, found none that PEFT can read ({first_line(error)}); give "
            "the folder of a finished run."
        ) from error
    reason = ""
    if config.is_prompt_learning:
        reason = "a prefix, which changes no weight"
    elif isinstance(config, (SeriesConfig, ParallelConfig)):
        if config.activation != "identity":
            reason = f"one with the activation {config.activation!r}, which no linear layer can hold"
        elif isinstance(config, ParallelConfig) and config.placement == "block":
            reason = "one beside whole blocks, which no single weight can take up"
    if reason:
        raise ModelFormatError(
            f"{adapter}: expected an adapter that can be merged, found {reason}; serve it as it is."
        )


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).eval()
    except Exception as error:  # torn safetensors raise errors of their own
        raise ModelFormatError(
            f"{adapter}: expected an adapter that fits its base, found one that PEFT cannot load "
            f"({first_line(error)}); run the recipe again."
        ) from error


def _check(agreement: Agreement, dtype: str, out: Path) -> None:
    if agreement.relative > _TOLERANCES[dtype]:
        raise _off(out, f"{_TOLERANCES[dtype]:g} (relative, {dtype})", f"{agreement.relative:.2g}")


def _check_written(merged: Any, folder: Path, dtype: Any, out: Path) -> None:
    """Weight by weight: logits alone would not show a small one that is off."""
    import torch

    stored = StoredWeights(folder)
    weights = dict(merged.named_parameters())
    for name in stored.files:
        wanted = weights.get(name)
        if wanted is not None and not torch.equal(stored.tensor(name), wanted.detach().to(dtype)):
            raise _off(out, f"half a step of {dtype}", f"another {name}")


def _off(out: Path, wanted: str, found: str) -> ModelFormatError:
    return ModelFormatError(
        f"{out}: expected the merged model within {wanted} of base and adapter, found {found}; nothing was "
        "written: serve the adapter as it is."
    )


@without_bars()
def _copy(model: Path, tokenizer: Path, pair: PromptPair, out: Path) -> MergeReport:
    dtype = stored_dtype(model)
    words = load_tokenizer(tokenizer)
    probes = probe_ids(words, pair)
    with replacing_folder(out, what="merged model", marker="config.json") as new:
        for file in sorted(model.iterdir()):
            shutil.copy2(file, new)
        save_serving_tokenizer(words, pair, new)
        whole = logits_on(load_model(model, dtype), probes)
        same = agreement_of(logits_on(load_model(new, dtype), probes), whole, whole)
        _check(same, "float32", out)
    name = str(dtype).removeprefix("torch.")
    tolerance = _TOLERANCES["float32"]
    return MergeReport(
        name, same, same, {"exact": tolerance, "saved": tolerance}, "Every weight was tuned: a copy."
    )
