"""`prepare_release`: from a run folder to a folder that can be pushed to the Hub as it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import DataNotFoundError, ReleaseFormatError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.models import digest_of, load_tokenizer
from chatdoctor_hub.models.locate import MODEL_FILES
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release.card import render_card
from chatdoctor_hub.release.figures import draw_loss
from chatdoctor_hub.release.manifest import (
    MANIFEST,
    SERVING_TEMPLATE,
    TRAINING_TEMPLATE,
    BaseModelRecord,
    Manifest,
    load_manifest,
    sha256_of,
)
from chatdoctor_hub.training import RunFolder, RunManifest

__all__ = ["ReleaseFolder", "prepare_release"]


@dataclass(frozen=True)
class ReleaseFolder:
    """A release that is complete and checked.

    Args:
        path: the folder.
    """

    path: Path

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest, checked on first use (see `load_manifest`)."""
        return load_manifest(self.path)


def prepare_release(
    run: RunFolder | str | Path,
    out: str | Path,
    *,
    metrics: Mapping[str, Any],
    name: str = "",
    license: str = "apache-2.0",
    corpus: Mapping[str, Any] | None = None,
    include_base: bool = False,
) -> ReleaseFolder:
    """Write the release of a tuning run; nothing is uploaded.

    The adapter as safetensors, the tokenizer with the serving form baked into its chat template and the
    training form beside it, the manifest, the model card and a plot of the loss. The folder appears under
    its name only when it is complete; an earlier one is replaced.

    Args:
        run: what `fine_tune` returned, or its folder.
        out: the folder to write.
        metrics: measurements for manifest and card, as `quickstart` makes them: "perplexity", "overlap",
            "attack_success", "over_refusal".
        name: of the model; by default that of the folder.
        license: of the release, as the Hub spells it.
        corpus: more about the dialogues for the card (sources, licences, counts).
        include_base: copy the base model into the release, for one that exists nowhere else; a whole model
            needs none.

    Raises:
        DataNotFoundError, DataFormatError: when `run` is no run folder, or `out` is something else than an
            earlier release.
        ReleaseFormatError: when a record that the card needs is missing, or when the base that is to be
            included has changed.
    """
    folder = RunFolder.open(run.path if isinstance(run, RunFolder) else run)
    out = Path(out)
    with replacing_folder(out, what="release", marker=MANIFEST) as partial:
        _write_weights(folder, partial, include_base)
        _write_tokenizer(folder, partial)
        title = name or out.resolve().name
        draw_loss(folder.metrics, partial / "loss.png", f"{title}: loss of the tuning run")
        (partial / "recipe.yaml").write_text(folder.manifest.recipe.to_yaml(), encoding="utf-8")
        manifest = _manifest(
            folder.manifest,
            title,
            license,
            dict(metrics),
            dict(corpus or {}),
            include_base,
            _digests(partial),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(render_card(manifest), encoding="utf-8")
        load_manifest(partial)
    return ReleaseFolder(out)


def _write_weights(run: RunFolder, out: Path, include_base: bool) -> None:
    if run.model.is_dir():
        for file in _model_files(run.model):
            shutil.copy2(file, out)
        return
    try:
        shutil.copy2(run.adapter / "adapter_model.safetensors", out)
        config = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataNotFoundError(
            f"{run.adapter}: expected adapter_model.safetensors and adapter_config.json, found a gap; run the "
            "recipe again."
        ) from error
    # PEFT wrote the folder that the base was loaded from, which means nothing on another machine.
    config["base_model_name_or_path"] = run.manifest.base.id
    base = Path(run.manifest.base.path)
    if include_base:
        if digest_of(base) != run.manifest.base.digest:
            raise ReleaseFormatError(
                f"{base}: expected the base model that the adapter was trained on, found another digest; run the "
                "recipe again."
            )
        (out / "base").mkdir()
        for file in _model_files(base):
            shutil.copy2(file, out / "base")
        config["base_model_name_or_path"] = "base"
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _model_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()})


def _write_tokenizer(run: RunFolder, out: Path) -> None:
    pair = PromptPair.from_record(run.manifest.prompt, str(run.path / "run.json"))
    tokenizer = load_tokenizer(run.tokenizer)
    tokenizer.chat_template = {
        "default": pair.serving_template(tokenizer),
        "training": pair.training_template(tokenizer),
    }
    tokenizer.save_pretrained(out)
    for name in (SERVING_TEMPLATE, TRAINING_TEMPLATE):
        if not (out / name).is_file():
            raise ReleaseFormatError(
                f"{out / name}: expected the tokenizer to save this chat template, found none; update transformers."
            )


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def _manifest(
    run: RunManifest,
    name: str,
    license: str,
    metrics: dict[str, Any],
    corpus: dict[str, Any],
    include_base: bool,
    files: dict[str, str],
) -> Manifest:
    is_whole = run.recipe.adapter.kind == "full"
    return Manifest(
        name=name,
        weights="model" if is_whole else "adapter",
        license=license,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        base=BaseModelRecord(
            id=run.base.id,
            path="base" if include_base and not is_whole else "",
            digest=run.base.digest,
            parameters=run.base.parameters,
            model_type=run.base.model_type,
        ),
        prompt=run.prompt,
        recipe=run.recipe.model_dump(mode="json"),
        seed=run.recipe.seed,
        corpus={**corpus, **run.data.model_dump(mode="json")},
        training={
            "trained_parameters": run.trained_parameters,
            "steps": run.steps,
            "tokens": run.tokens,
            "seconds": run.seconds,
            "precision": run.precision,
            "workers": run.workers,
            "device": run.device,
        },
        metrics=metrics,
        versions=run.versions,
        files=files,
    )
