"""`plan`: everything that a run would do, found out without training or writing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data import Encoded, preview
from chatdoctor_hub.training.passes import free_memory, micro_batches
from chatdoctor_hub.training.planning.footprint import budget_of
from chatdoctor_hub.training.planning.lengths import histogram, share_if_padded
from chatdoctor_hub.training.planning.prepared import Prepared, prepare
from chatdoctor_hub.training.planning.trials import device_of_runs, trial
from chatdoctor_hub.training.planning.tuning_plan import TuningPlan
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.run import extremes, step_count, steps
from chatdoctor_hub.training.weights import count_parameters

if TYPE_CHECKING:
    import torch

__all__ = ["plan"]

_FORWARD = 1 / 3  # of the time of a step, that a forward pass takes


@dataclass(frozen=True)
class _Tried:
    """What a few steps showed; what was not tried is None."""

    flat: bool = True
    fused: bool | None = None
    why: str = ""
    workers: int | None = None
    precision: str | None = None
    tokens_a_second: float | None = None


def plan(
    config: RecipeConfig, *, probe_steps: int = 3, on_progress: Callable[[int], None] | None = None
) -> TuningPlan:
    """Find out what a recipe would do: parameters, data, steps, memory, time, one decoded example.

    Nothing is written but the encoded dialogues, to a temporary folder that goes away. For the estimate of
    the time the base is loaded, and a few steps are really made on it, and thrown away.

    Args:
        config: the recipe.
        probe_steps: steps to try; 0 loads no weights, and leaves the time unknown.
        on_progress: called with the number of dialogues read so far.

    Raises:
        MissingExtraError, UnknownPromptError, ModelNotFoundError, ModelFormatError, ConfigError, PurityError,
        DataNotFoundError, DataFormatError: as `fine_tune` would, before weights are loaded.
        TrainingError: when a step fails, or its loss is not finite.
    """
    prepared = prepare(config, on_progress=on_progress)
    device = device_of_runs()
    free = free_memory(device)
    tried = _try(config, prepared, probe_steps) if probe_steps > 0 else _Tried()
    trained, total = count_parameters(config, prepared.folder)
    machine = _on_the_machine(config, prepared, device, tried)
    figures = _of_the_data(config, prepared, tried.tokens_a_second)
    return TuningPlan(
        base=config.base,
        output=config.output,
        prompt=prepared.pair.id,
        adapter=config.adapter.summary,
        trained_parameters=trained,
        parameters=total,
        free_bytes=free,
        warnings=tuple(_warnings(config, prepared, figures["steps"], machine["peak_bytes"], free)),
        preview=preview(prepared.data.training[0], prepared.tokenizer),
        **figures,
        **machine,
    )


def _of_the_data(config: RecipeConfig, prepared: Prepared, pace: float | None) -> dict[str, Any]:
    """What follows from the dialogues and their number."""
    data, settings = prepared.data, config.training
    lengths = data.training.lengths
    count = step_count(len(lengths), settings.batch_size, settings.epochs, settings.max_steps)
    step_tokens = data.training.tokens / len(lengths) * settings.batch_size
    return {
        "data": data.report,
        "lengths": histogram(lengths),
        "longest": int(lengths.max()),
        "steps": count,
        "step_tokens": step_tokens,
        "fixed_padding_share": share_if_padded(lengths, 1, settings.max_length),
        "batch_padding_share": share_if_padded(_shuffled(lengths), settings.batch_size),
        "seconds": _seconds(config, prepared, count * step_tokens, pace),
        "tokens_a_second": pace,
    }


def _on_the_machine(
    config: RecipeConfig, prepared: Prepared, device: torch.device, tried: _Tried
) -> dict[str, Any]:
    """How the passes would run; what was tried goes before what the config tells."""
    samples = prepared.data.training
    longest = extremes(samples)
    budget, precision, workers = budget_of(config, prepared, device, longest, fused=bool(tried.fused))
    return {
        "device": str(device),
        "precision": tried.precision or _name(precision),
        "workers": tried.workers or workers,
        "fused": tried.fused,
        "why_not_fused": tried.why,
        "real_share": 1.0 if tried.flat else _share_computed(config, samples, budget.tokens, workers),
        "token_budget": budget.tokens,
        "checkpointing": budget.checkpointing,
        "peak_bytes": budget.peak_bytes,
    }


def _try(config: RecipeConfig, prepared: Prepared, count: int) -> _Tried:
    samples = prepared.data.training
    taken, tokens = [], []
    with trial(config, prepared, extremes(samples)) as found:
        for batch in _first_steps(config, samples, count):
            _, seconds = found.step(batch)
            taken.append(seconds)
            tokens.append(sum(len(sample) for sample in batch))
        passes = found.passes
        # The first step sets buffers up.
        warm = 1 if len(taken) > 1 else 0
        pace = sum(tokens[warm:]) / max(1e-9, sum(taken[warm:]))
        return _Tried(passes.flat, passes.fused, passes.why, passes.workers, _name(passes.precision), pace)


def _share_computed(config: RecipeConfig, samples: Any, budget: int, workers: int) -> float:
    """Real tokens of those that padded micro-batches hold, in the first steps of the run."""
    batches = [batch for step in _first_steps(config, samples, 10) for batch in _cut(step, budget, workers)]
    computed = sum(len(batch) * max(map(len, batch)) for batch in batches)
    return sum(len(sample) for batch in batches for sample in batch) / max(1, computed)


def _cut(step: list[Encoded], budget: int, workers: int) -> list[list[Encoded]]:
    return [batch for share in micro_batches(step, budget, workers, padded=True) for batch in share]


def _first_steps(config: RecipeConfig, samples: Any, count: int) -> list[list[Encoded]]:
    settings = config.training
    return list(islice(steps(samples, settings.batch_size, settings.epochs, config.seed), count))


def _seconds(config: RecipeConfig, prepared: Prepared, tokens: float, pace: float | None) -> float | None:
    if pace is None:
        return None
    validated = config.training.validations * prepared.data.validation.tokens
    return (tokens + _FORWARD * validated) / pace


def _warnings(config: RecipeConfig, prepared: Prepared, steps: int, peak: int, free: int) -> Iterator[str]:
    report = prepared.data.report
    if peak > free:
        yield (
            f"about {peak / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free; set training.checkpointing "
            "to 'on', a smaller training.token_budget, or quantization"
        )
    if not len(prepared.data.validation):
        yield "nothing is validated with; set validation or training.validation_share"
    rise = config.training.warmup_steps
    if rise is not None and rise >= steps:
        yield (
            f"the rate rises over {rise} steps and the run has {steps}: training.lr is never "
            "reached; lower training.warmup_steps"
        )
    if report.training < config.training.batch_size:
        yield f"{report.training} dialogues do not fill a step of {config.training.batch_size}"
    left_out = sum(report.skipped.values()) + sum(report.problems.values())
    if left_out > 0.05 * max(1, report.read):
        yield f"{left_out} of {report.read} records are left out"
    if report.shortened > 0.2 * max(1, report.training):
        yield (
            f"{report.shortened} of {report.training} dialogues are shortened to {config.training.max_length} "
            "tokens; raise training.max_length"
        )
    if report.safety:
        yield "safety prompts are tuned on: such weights do not have the safety of PTST"


def _shuffled(lengths: Any) -> Any:
    """As a run would see them, more or less: files are often sorted."""
    import numpy

    return numpy.random.default_rng(0).permutation(lengths)


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
