"""`TuningPlan`: what a recipe would do, in figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data import DataReport

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["TuningPlan"]


@dataclass(frozen=True)
class TuningPlan:
    """What a recipe would do. Nothing was written, and no weight changed.

    Args:
        base, output, prompt, adapter: of the recipe; the adapter in a few words.
        trained_parameters: how many are trained.
        parameters: of the model with its adapter, tied ones once.
        data: what was read and what was left out.
        lengths: tokens -> training dialogues of that length, as bars.
        longest: tokens of the longest training dialogue.
        steps: optimizer steps.
        step_tokens: real tokens of a step, on average.
        real_share: real tokens of those that the passes compute; 1 where dialogues lie end to end.
        fixed_padding_share: the same, were all padded to `max_length`.
        batch_padding_share: the same, were each step padded to its longest dialogue.
        device: where the run would go.
        precision: of the passes.
        workers: threads with parts of a step.
        fused: whether the fused layers are used; None where it was not tried.
        why_not_fused: or "".
        token_budget: tokens of a micro-batch.
        checkpointing: whether activations are recomputed.
        peak_bytes: estimate of all that weights and steps hold at most, Python and its libraries aside; on a
            CPU right to about a factor of 2.
        free_bytes: of the device, before anything is loaded.
        seconds: estimate of the steps and validations; None where no step was tried.
        tokens_a_second: real ones, in the steps that were tried; None likewise.
        warnings: what is worth knowing before the run.
        preview: one encoded dialogue in colour; it shows a patient's words and is no part of the record.
    """

    base: str
    output: str
    prompt: str
    adapter: str
    trained_parameters: int
    parameters: int
    data: DataReport
    lengths: dict[str, int]
    longest: int
    steps: int
    step_tokens: float
    real_share: float
    fixed_padding_share: float
    batch_padding_share: float
    device: str
    precision: str
    workers: int
    fused: bool | None
    why_not_fused: str
    token_budget: int
    checkpointing: bool
    peak_bytes: int
    free_bytes: int
    seconds: float | None
    tokens_a_second: float | None
    warnings: tuple[str, ...] = ()
    preview: Text | None = field(default=None, compare=False, repr=False)

    @property
    def fits(self) -> bool:
        """Whether the memory that is free is enough for the estimate."""
        return self.peak_bytes <= self.free_bytes

    def to_record(self) -> dict[str, Any]:
        """As JSON has it, without patients' words."""
        data = self.data
        return {
            "base": self.base,
            "output": self.output,
            "prompt": self.prompt,
            "adapter": self.adapter,
            "trained_parameters": self.trained_parameters,
            "parameters": self.parameters,
            "trained_share": self.trained_parameters / max(1, self.parameters),
            "steps": self.steps,
            "estimated_seconds": self.seconds,
            "warnings": list(self.warnings),
            "dialogues": {
                "sources": ", ".join(data.sources),
                "read": data.read,
                "training": data.training,
                "validation": data.validation,
                "shortened": data.shortened,
                "safety_mixed_in": data.mixed,
                "tokens": data.tokens,
                "learned_tokens": data.labelled_tokens,
                "learned_share": data.labelled_tokens / max(1, data.tokens),
                "longest": self.longest,
            },
            "left_out": dict(data.skipped),
            "not_readable": dict(data.problems),
            "safety_wording": dict(data.safety),
            "length_histogram": dict(self.lengths),
            "real_tokens": {
                "tokens_a_step": round(self.step_tokens),
                "share_here": self.real_share,
                "share_if_padded_to_the_longest_of_a_step": self.batch_padding_share,
                "share_if_padded_to_max_length": self.fixed_padding_share,
            },
            "machine": {
                "device": self.device,
                "precision": self.precision,
                "workers": self.workers,
                "fused": self.fused,
                "why_not_fused": self.why_not_fused or "-",
                "tokens_a_micro_batch": self.token_budget,
                "checkpointing": self.checkpointing,
                "estimated_peak_bytes": self.peak_bytes,
                "free_bytes": self.free_bytes,
                "fits": self.fits,
                "tokens_a_second": self.tokens_a_second,
            },
        }
