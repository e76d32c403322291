"""`fine_tune`: base model + dialogues -> run folder, under the training form of a prompt pair."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub import __version__
from chatdoctor_hub.corpus import Corpus, read_dialogues, split
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataNotFoundError, ModelFormatError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.models import digest_of, load_model, load_tokenizer, locate, require_extra
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.config import AdapterConfig, RecipeConfig
from chatdoctor_hub.training.encoding import Encoding, encode
from chatdoctor_hub.training.fitting import Fit, OnStep, fit
from chatdoctor_hub.training.run_folder import (
    METRICS,
    RECORD,
    BaseRecord,
    DataRecord,
    RunFolder,
    RunManifest,
)

__all__ = ["fine_tune", "versions"]

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "huggingface_hub", "safetensors")


def fine_tune(config: RecipeConfig, *, on_step: OnStep | None = None) -> RunFolder:
    """Tune a base model with LoRA (arXiv 2106.09685) on dialogues, purely.

    The dialogues are rendered in the training form of the recipe's prompt pair, which has no safety
    prompt (PTST, arXiv 2402.18540); the loss counts the doctor's words and the end of each doctor's turn
    and nothing else. The run folder appears under its name only when it is complete; a folder of an
    earlier run is replaced.

    Args:
        config: the recipe.
        on_step: called after each optimizer step with step, tokens, loss, lr and, at times,
            validation_loss (nats a learned token).

    Raises:
        MissingExtraError: without the packages of the extra "train".
        ModelNotFoundError, ModelFormatError: when the base cannot be used.
        DataNotFoundError, DataFormatError: when the dialogues cannot be used.
        UnknownPromptError: for a prompt that is not in the catalogue.
        ConfigError: when the output is something else than an earlier run.
        GenerationError: when the loss is no longer a number.
    """
    require_extra("torch", "transformers", "peft", extra="train")
    _check_output(Path(config.output))
    pair = PromptPair.load(config.prompt)
    folder = locate(config.base)
    tokenizer = load_tokenizer(folder)
    _check_tokenizer(tokenizer, config.base)
    training, validation, source = _read(config)
    encoding = encode(training, pair, tokenizer, config.training.max_length)
    held_out = encode(validation, pair, tokenizer, config.training.max_length).samples if validation else ()
    records: list[dict[str, float]] = []

    def record(step: dict[str, float]) -> None:
        records.append(step)
        if on_step:
            on_step(step)

    model, result = _train(config, folder, tokenizer, encoding, held_out, record)
    manifest = _manifest(config, folder, pair, model, encoding, len(held_out), source, result)
    return _write(config, manifest, model, tokenizer, records)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), "chatdoctor-hub": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _check_output(out: Path) -> None:
    """Found out before the work: what stands there would be replaced."""
    if out.name and (
        not out.exists() or (out.is_dir() and ((out / RECORD).is_file() or not any(out.iterdir())))
    ):
        return
    raise ConfigError(
        f"{out}: expected output to be a new, an empty or an earlier run's folder, found "
        f"{'a folder of other files' if out.is_dir() else 'a file'}; choose another."
    )


def _check_tokenizer(tokenizer: Any, base: str) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise ModelFormatError(
            f"{base}: expected a fast tokenizer, whose offsets give exact masks, found a slow one; convert "
            "it to tokenizer.json."
        )
    if tokenizer.eos_token_id is None:
        raise ModelFormatError(
            f"{base}: expected a tokenizer with an eos_token, found none; a model tuned without it never "
            "stops: set one."
        )


def _read(config: RecipeConfig) -> tuple[Sequence[Dialogue], Sequence[Dialogue], tuple[str, str]]:
    path = Path(config.data)
    if path.is_dir():
        corpus = Corpus.open(path)
        return corpus.train, corpus.validation, (str(path), corpus.digest)
    if not path.exists():
        raise DataNotFoundError(
            f"{path}: expected a corpus folder or a file of dialogues, found nothing; check the path."
        )
    file = read_dialogues(path)
    splits = split(file, seed=config.seed)
    return splits.train, splits.validation, (file.source, file.digest)


def _train(
    config: RecipeConfig,
    folder: Path,
    tokenizer: Any,
    encoding: Encoding,
    held_out: Sequence[Any],
    record: OnStep,
) -> tuple[Any, Fit]:
    import torch

    model = load_model(folder, torch.float32)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        raise ModelFormatError(
            f"{config.base}: expected a tokenizer of at most {model.get_input_embeddings().weight.shape[0]} "
            f"tokens, found {len(tokenizer)}; the tokenizer belongs to another model."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = _with_adapter(model.to(device), config.adapter, config.base)
        result = fit(
            model, encoding.samples, config.training, seed=config.seed, validation=held_out, on_step=record
        )
    return model, result


def _with_adapter(model: Any, adapter: AdapterConfig, base: str) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    try:
        return get_peft_model(
            model,
            LoraConfig(
                r=adapter.r,
                lora_alpha=adapter.alpha,
                lora_dropout=adapter.dropout,
                target_modules=targets,
                task_type=TaskType.CAUSAL_LM,
            ),
        )
    except ValueError as error:
        import torch

        linears = sorted(
            {
                name.rpartition(".")[2]
                for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear)
            }
        )
        raise ModelFormatError(
            f"{base}: expected adapter.targets among its modules ({', '.join(linears)}), found {targets}; "
            "name some of these, or 'all-linear'."
        ) from error


def _manifest(
    config: RecipeConfig,
    folder: Path,
    pair: PromptPair,
    model: Any,
    encoding: Encoding,
    validation: int,
    source: tuple[str, str],
    result: Fit,
) -> RunManifest:
    trained, everything = model.get_nb_trainable_parameters()
    return RunManifest(
        recipe=config,
        base=BaseRecord(
            id=config.base,
            path=str(folder),
            digest=digest_of(folder),
            parameters=everything - trained,
            model_type=str(model.config.model_type),
        ),
        data=DataRecord(
            source=source[0],
            digest=source[1],
            training=len(encoding.samples),
            validation=validation,
            shortened=len(encoding.shortened),
            skipped=dict(Counter(encoding.skipped.values())),
            labelled_tokens=encoding.labelled_tokens,
        ),
        prompt=pair.to_record(),
        trained_parameters=trained,
        steps=result.steps,
        tokens=result.tokens,
        seconds=round(result.seconds, 3),
        precision=result.precision,
        workers=result.workers,
        device=str(model.device),
        versions=versions(),
    )


def _write(
    config: RecipeConfig,
    manifest: RunManifest,
    model: Any,
    tokenizer: Any,
    records: Sequence[dict[str, float]],
) -> RunFolder:
    out = Path(config.output)
    with replacing_folder(out, what="tuning run", marker=RECORD) as partial:
        model.save_pretrained(partial / "adapter", safe_serialization=True)
        (partial / "adapter" / "README.md").unlink(missing_ok=True)
        tokenizer.chat_template = PromptPair.from_record(manifest.prompt).training_template(tokenizer)
        tokenizer.save_pretrained(partial / "tokenizer")
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (partial / METRICS).write_text(lines, encoding="utf-8")
        (partial / "recipe.yaml").write_text(config.to_yaml(), encoding="utf-8")
        (partial / RECORD).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return RunFolder(out)
