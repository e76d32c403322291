"""How near two models' logits are, on a few questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from chatdoctor_hub.prompts import PromptPair

__all__ = ["Agreement", "agreement_of", "logits_on", "probe_ids"]

_QUESTIONS = (
    "I have had a headache since yesterday. What should I do?",
    "My child has a fever of 39 degrees and a rash. Is that dangerous?",
    "Which side effects does ibuprofen have?",
    "最近三天我一直咳嗽，需要去医院吗？",
)


@dataclass(frozen=True)
class Agreement:
    """Logits of one model against another's, at every position of the probes.

    Args:
        largest: largest difference of two logits.
        relative: norm of the differences over the norm of the logits less their mean.
        update: norm of the differences over the norm of what tuning changed: the share of it that is lost.
        same_choice: share of the positions at which both hold the same token most likely.
        positions: how many there were.
    """

    largest: float
    relative: float
    update: float
    same_choice: float
    positions: int

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def probe_ids(tokenizer: Any, pair: PromptPair | None) -> list[list[int]]:
    """The probes as tokens: as they will be asked, or plain where there is no prompt pair."""
    texts = [
        pair.render_prompt([{"role": "user", "content": text}], tokenizer) if pair else text
        for text in _QUESTIONS
    ]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def logits_on(model: Any, probes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """(tokens, vocabulary) logits of each probe, float32, on the CPU."""
    import torch

    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
            .logits[0]
            .float()
            .cpu()
            for ids in probes
        ]


def agreement_of(
    found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], untuned: Sequence[torch.Tensor]
) -> Agreement:
    """Compare logits position by position; NaN anywhere makes the differences infinite."""
    import torch

    ours, theirs, before = (torch.cat(list(logits)) for logits in (found, expected, untuned))
    difference = ours - theirs
    if not bool(torch.isfinite(difference).all()):
        lost = float("inf")
        return Agreement(largest=lost, relative=lost, update=lost, same_choice=0.0, positions=len(theirs))
    off = float(difference.norm())

    def over(size: torch.Tensor) -> float:
        return off / max(float(size.norm()), 1e-12)

    return Agreement(
        largest=float(difference.abs().max()),
        relative=over(theirs - theirs.mean(dim=-1, keepdim=True)),
        update=over(theirs - before),
        same_choice=float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()),
        positions=len(theirs),
    )
