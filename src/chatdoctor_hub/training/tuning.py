"""`fine_tune`: base model + dialogues -> run folder, under the training form of a prompt pair."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.folders import held_folder
from chatdoctor_hub.models import require_extra, without_bars
from chatdoctor_hub.training.passes import precision_for
from chatdoctor_hub.training.planning import Prepared, prepare
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.run import Checkpoints, Fit, OnStep, Prober, fit, has_checkpoint
from chatdoctor_hub.training.run_folder import RECORD, RunFolder
from chatdoctor_hub.training.run_writing import write_run
from chatdoctor_hub.training.weights import Anchor, load_tunable, save_trained

__all__ = ["fine_tune"]

_CHECKPOINTS = "checkpoints"


def fine_tune(config: RecipeConfig, *, on_step: OnStep | None = None, fresh: bool = False) -> RunFolder:
    """Tune a base model on dialogues, purely: with an adapter, or whole.

    The dialogues are rendered in the training form of the recipe's prompt pair, which has no safety
    prompt (PTST, arXiv 2402.18540); the loss counts the doctor's words and the end of each doctor's turn
    and nothing else, unless the recipe says otherwise. The run folder appears under its name only when it
    is complete; a folder of an earlier run is replaced. Until then data and checkpoints are kept beside it,
    in the hidden folder `.NAME.run`: a run that was stopped or killed goes on where it was.

    In a program started by `launch` every process calls this; the first one writes.

    Args:
        config: the recipe.
        on_step: called after each optimizer step with step, steps, tokens, loss, lr and, at times,
            validation_loss (nats a learned token) and what the probes found.
        fresh: throw away what an earlier, unfinished run left, and start from nothing.

    Raises:
        MissingExtraError: without the packages of the extra "train".
        ModelNotFoundError, ModelFormatError: when the base cannot be used.
        DataNotFoundError, DataFormatError: when the dialogues cannot be used.
        PurityError: when they carry a safety prompt and the recipe does not allow it.
        UnknownPromptError: for a prompt that is not in the catalogue.
        ConfigError: when the output is something else than an earlier run, when an unfinished run of
            another recipe lies there, or when the adapter does not suit the base.
        TrainingError: when the loss is no longer a number.
        DiskSpaceError: when the disk is full; the last good checkpoint is kept.
    """
    require_extra("torch", "transformers", "peft", "accelerate", extra="train")
    from accelerate import PartialState

    state = PartialState()
    out = Path(config.output)
    if state.is_main_process:
        _check_output(out)
    place = out.resolve().with_name(f".{out.resolve().name}.run")
    with _work_folder(place, out, state, fresh) as work:
        prepared, model, result = _run(config, state, work, on_step)
        if state.is_main_process:
            write_run(config, prepared, model, result, state.num_processes)
        else:
            save_trained(model, config, work)  # sharded weights are gathered; the first process writes
    state.wait_for_everyone()
    return RunFolder(out)


@contextmanager
def _work_folder(place: Path, out: Path, state: Any, fresh: bool) -> Iterator[Path]:
    """Held by the first process; removed when the run is done, or stopped before there was a checkpoint."""
    if not state.is_main_process:
        yield place
        return
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    with held_folder(place, f"the run {str(out)!r}"):
        try:
            yield place
        except BaseException:
            if not has_checkpoint(place / _CHECKPOINTS):
                shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)


def _run(config: RecipeConfig, state: Any, work: Path, on_step: OnStep | None) -> tuple[Prepared, Any, Fit]:
    import torch

    with state.main_process_first():
        prepared = prepare(config, cache=work / "data")
    key = _key(config, prepared)
    Checkpoints(work / _CHECKPOINTS, key).newest()  # another recipe's are refused before weights are loaded
    with torch.random.fork_rng(), without_bars():
        torch.manual_seed(config.seed)
        model = load_tunable(
            config, prepared.folder, precision_for(config.training, state.device), state.device
        )
        probes = config.probes
        result = fit(
            model,
            prepared.data.training,
            config.training,
            seed=config.seed,
            validation=prepared.data.validation,
            on_step=on_step if state.is_main_process else None,
            extra=Anchor(config.anchor) if config.anchor else None,
            work=work / _CHECKPOINTS,
            key=key,
            probe=Prober(model, prepared.tokenizer, prepared.pair, probes) if probes.times else None,
            probe_times=probes.times,
        )
    return prepared, model, result


def _key(config: RecipeConfig, prepared: Prepared) -> str:
    """Of all that the weights depend on: a checkpoint with another key belongs to another run."""
    told = config.model_dump(
        mode="json", exclude={"output", "after", "safe_lora", "name", "source", "deviations"}
    )
    parts = [told, prepared.data.report.digest, prepared.base_digest, prepared.pair.sha256]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
