"""The weights of a release: the run's adapter or model, merged, or as a plain LoRA; safetensors only."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from chatdoctor_hub.errors import DataNotFoundError, ModelFormatError, ReleaseFormatError
from chatdoctor_hub.models import digest_of, load_model, load_tokenizer, require_extra
from chatdoctor_hub.models.locate import MODEL_FILES
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release.places import base_place
from chatdoctor_hub.training import RunFolder, merge_run
from chatdoctor_hub.training.weights.agreement import agreement_of, logits_on, probe_ids
from chatdoctor_hub.training.weights.merging import base_of

__all__ = ["Export", "write_weights"]

Export = Literal["", "merged", "lora"]
_TOLERANCE = 1e-3  # relative, float32: what the order of sums alone makes of logits
# Of a merged or tuned model; its tokenizer is written with both of its templates.
_TOKENIZER = re.compile(r"(tokenizer|special_tokens|added_tokens|vocab|merges|chat_template).*")


def write_weights(run: RunFolder, out: Path, *, export: Export, include_base: bool) -> dict[str, Any]:
    """Write the weights of a run into the folder of its release.

    Args:
        run: the run.
        out: the folder.
        export: "merged" puts the adapter into the base's weights; "lora" writes a linear parallel adapter as
            the LoRA that it equals; "" takes the weights as they are.
        include_base: write the base model into `base/` and the adapter into `adapter/`.

    Returns:
        How exported weights were verified; {} for none.

    Raises:
        DataNotFoundError: when the run has a gap.
        ModelNotFoundError, ModelFormatError: when the base is gone or another, or no such weights equal the
            run's; the message says why.
        ReleaseFormatError: when the base that is to be included has changed.
    """
    if run.manifest.recipe.adapter.kind == "full":
        if export == "lora":
            raise ModelFormatError(
                f"{run.path}: expected a parallel adapter to write as a LoRA, found every weight tuned; leave "
                "as_lora out."
            )
        _copy_model(run.model, out)
        return {}
    if export == "merged":
        return _write_merged(run, out)
    place = out / "adapter" if include_base else out
    place.mkdir(exist_ok=True)
    if export == "lora":
        report = _write_lora(run, place)
    else:
        report = {}
        _copy_adapter(run, place)
    _name_base(run, place, include_base)
    if include_base:
        _copy_base(run, out)
    return report


def _copy_model(model: Path, out: Path) -> None:
    if not list(model.glob("*.safetensors")) or not (model / "config.json").is_file():
        raise _gap(model, "config.json and safetensors")
    for file in _model_files(model):
        if not _TOKENIZER.fullmatch(file.name):
            shutil.copy2(file, out)


def _copy_adapter(run: RunFolder, out: Path) -> None:
    names = ("adapter_model.safetensors", "adapter_config.json")
    try:
        for name in names:
            shutil.copy2(run.adapter / name, out)
    except OSError as error:
        raise _gap(run.adapter, " and ".join(names)) from error


def _write_merged(run: RunFolder, out: Path) -> dict[str, Any]:
    # In a folder of its own: the one around is locked as long as it is written.
    apart = out / "merging"
    report = merge_run(run, apart / "model")
    _copy_model(apart / "model", out)
    shutil.rmtree(apart)
    return report.to_record()


def _write_lora(run: RunFolder, out: Path) -> dict[str, Any]:
    """Raises ModelFormatError with the reason where no LoRA equals the adapter, before any weights are loaded."""
    adapter = run.manifest.recipe.adapter
    reason = ""
    if adapter.kind != "parallel":
        reason = f"a {adapter.kind} adapter"
    elif adapter.activation != "identity":
        reason = f"the activation {adapter.activation!r}, which no LoRA has"
    elif adapter.placement != "linear":
        reason = "one beside whole blocks, where no LoRA stands"
    if reason:
        raise ModelFormatError(
            f"{run.adapter}: expected a linear parallel adapter to write as a LoRA, found {reason}; release it as "
            "it is."
        )
    require_extra("torch", "transformers", "peft", extra="local")
    import torch
    from peft import PeftModel

    from chatdoctor_hub.adapters import export_lora

    base = base_of(run.manifest)
    pair = PromptPair.from_record(run.manifest.prompt, str(run.path / "run.json"))
    probes = probe_ids(load_tokenizer(run.tokenizer), pair)
    model = PeftModel.from_pretrained(load_model(base, torch.float32), str(run.adapter)).eval()
    apart = out / "exporting"
    export_lora(model, apart / "lora")
    expected = logits_on(model, probes)
    with model.disable_adapter():
        untuned = logits_on(model, probes)
    del model
    exported = PeftModel.from_pretrained(load_model(base, torch.float32), str(apart / "lora")).eval()
    agreement = agreement_of(logits_on(exported, probes), expected, untuned)
    if agreement.relative > _TOLERANCE:
        raise ModelFormatError(
            f"{run.adapter}: expected a LoRA within {_TOLERANCE:g} (relative) of the adapter's logits, found "
            f"{agreement.relative:.2g}; release the adapter as it is."
        )
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy2(apart / "lora" / name, out)
    shutil.rmtree(apart)
    return {"exact": agreement.to_record()}


def _name_base(run: RunFolder, adapter: Path, include_base: bool) -> None:
    """PEFT wrote the folder that the base was loaded from, which means nothing on another machine.

    A bare name would be asked of the Hub, and whoever owns it there would supply the weights.
    """
    file = adapter / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _gap(run.adapter, "adapter_config.json with JSON in it") from error
    place = base_place(run)
    is_from_hub = not (include_base or place.here)
    config["base_model_name_or_path"] = place.id if is_from_hub else None
    config["revision"] = (place.revision or None) if is_from_hub else None
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _copy_base(run: RunFolder, out: Path) -> None:
    base = Path(run.manifest.base.path)
    if digest_of(base) != run.manifest.base.digest:
        raise ReleaseFormatError(
            f"{base}: expected the base model that the adapter was trained on, found another digest; run the "
            "recipe again."
        )
    (out / "base").mkdir()
    for file in _model_files(base):
        shutil.copy2(file, out / "base")


def _model_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()})


def _gap(folder: Path, what: str) -> DataNotFoundError:
    return DataNotFoundError(f"{folder}: expected {what}, found a gap; run the recipe again.")
