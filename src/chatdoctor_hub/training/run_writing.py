"""`write_run`: the folder of a run that is done, and what is made of its weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.prompts import FORMS, PromptPair
from chatdoctor_hub.training.planning import Prepared
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.run import Fit, draw_run
from chatdoctor_hub.training.run_folder import (
    GGUF,
    METRICS,
    PLOT,
    RECORD,
    BaseRecord,
    DataRecord,
    RunFolder,
    RunManifest,
    SpeedRecord,
)
from chatdoctor_hub.training.versions import git_commit, versions
from chatdoctor_hub.training.weights import (
    count_parameters,
    merge_adapter,
    project_safe_lora,
    save_serving_tokenizer,
    save_trained,
    write_gguf,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["write_run"]


def write_run(config: RecipeConfig, prepared: Prepared, model: Any, result: Fit, processes: int) -> RunFolder:
    """Write the run folder, whole or not at all, in the place of an earlier run.

    Args:
        config: the recipe, whose output it is.
        prepared: what the run started from.
        model: with its tuned weights.
        result: what the run did.
        processes: how many took part.

    Raises:
        DiskSpaceError: when the disk is full.
        ModelFormatError, ConfigError: when the weights cannot be merged or exported as the recipe asks.
    """
    out = Path(config.output)
    manifest = _manifest(config, prepared, model, result, processes)
    with replacing_folder(out, what="tuning run", marker=RECORD) as partial:
        save_trained(model, config, partial)
        tokenizer = prepared.tokenizer
        tokenizer.chat_template = _templates(prepared.pair, tokenizer)
        tokenizer.save_pretrained(partial / "tokenizer")
        if config.adapter.kind == "full":
            save_serving_tokenizer(tokenizer, prepared.pair, RunFolder(partial).model)
        lines = "".join(json.dumps(record) + "\n" for record in result.records)
        (partial / METRICS).write_text(lines, encoding="utf-8")
        draw_run(result.records, partial / PLOT, config.name or out.resolve().name)
        (partial / "recipe.yaml").write_text(config.to_yaml(), encoding="utf-8")
        after = _after(config, prepared, partial)
        _write_manifest(partial, manifest.model_copy(update={"after": after}))
    return RunFolder(out)


def _templates(pair: PromptPair, tokenizer: PreTrainedTokenizerBase) -> str | dict[str, str]:
    """The template of the training form; beside it that of the serving form, if it is another."""
    training, serving = (pair.template(tokenizer, form) for form in FORMS)
    return training if serving == training else {"default": serving, "training": training}


def _write_manifest(folder: Path, manifest: RunManifest) -> None:
    (folder / RECORD).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _after(config: RecipeConfig, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """What is made of the weights: projected, merged, exported; each verified."""
    done: dict[str, Any] = {}
    run = RunFolder(folder)
    if config.safe_lora:
        done["safe_lora"] = project_safe_lora(run.adapter, config.safe_lora, config.base).to_record()
    wanted = config.after
    if not (wanted.merge or wanted.gguf):
        return done
    weights = run.model
    if config.adapter.kind != "full":
        weights = run.merged
        report = merge_adapter(prepared.folder, run.adapter, run.tokenizer, prepared.pair, weights)
        done["merge"] = report.to_record()
    if wanted.gguf:
        made = write_gguf(weights, run.tokenizer, prepared.pair, folder / GGUF, wanted.gguf)
        done["gguf"] = {**made.to_record(), "path": GGUF}
    if not wanted.merge and weights == run.merged:
        shutil.rmtree(weights)
    return done


def _manifest(
    config: RecipeConfig, prepared: Prepared, model: Any, result: Fit, processes: int
) -> RunManifest:
    trained, total = count_parameters(config, prepared.folder)
    report = prepared.data.report
    return RunManifest(
        recipe=config,
        base=BaseRecord(
            id=config.base,
            path=str(prepared.folder),
            digest=prepared.base_digest,
            parameters=total if config.adapter.kind == "full" else total - trained,
            model_type=str(model.config.model_type),
        ),
        data=DataRecord(
            source=", ".join(report.sources),
            digest=report.digest,
            training=report.training,
            validation=report.validation,
            shortened=report.shortened,
            skipped=dict(report.skipped),
            labelled_tokens=report.labelled_tokens,
            tokens=report.tokens,
            read=report.read,
            problems=dict(report.problems),
            safety=dict(report.safety),
            mixed=report.mixed,
        ),
        prompt=prepared.pair.to_record(),
        pure=not report.safety,
        trained_parameters=trained,
        steps=result.steps,
        tokens=result.tokens,
        seconds=round(result.seconds, 3),
        precision=result.precision,
        workers=result.workers,
        device=str(model.device),
        speed=SpeedRecord(
            fused=result.fused, why_not_fused=result.why, flat=result.flat, processes=processes
        ),
        validation_loss=result.validation_loss,
        best_step=result.best_step,
        stopped_early=result.stopped_early,
        resumed_at=result.resumed_at,
        versions=versions(),
        git=git_commit(Path.cwd()),
    )
