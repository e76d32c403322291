"""Options of a recipe that are off unless asked for, each with its source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chatdoctor_hub.training.recipe.strict import Strict

__all__ = ["AfterConfig", "AnchorConfig", "ProbeConfig", "SafeLoraConfig", "SafetyMixConfig"]


class SafetyMixConfig(Strict):
    """Refusals of harmful requests (and answers to harmless ones) among the data.

    About 3 % help and more over-refuses (arXiv 2309.07875); in the task's own format they work best
    (2406.10288). The words are this project's own unless `data` names others.
    """

    ratio: float = Field(0.03, gt=0, le=1, description="safety dialogues for each dialogue of the data")
    data: str | None = Field(None, description="file or folder of dialogues; None: those that are shipped")
    match_format: bool = Field(
        True, description="give them the system words and the turns of the task's data"
    )


class AnchorConfig(Strict):
    """A pull of the first answer tokens towards the untuned model (arXiv 2406.05946, section 4).

    weight * KL(untuned || tuned) over the first `tokens` learned tokens of each answer; the untuned model is
    the same one with its adapter switched off.
    """

    weight: float = Field(0.5, gt=0, description="nats of the loss for each nat of divergence")
    tokens: int = Field(5, ge=1, description="learned tokens at the start of each doctor's turn")


class SafeLoraConfig(Strict):
    """Projection of each LoRA update, after the run, onto the aligned-minus-base direction (arXiv 2405.16833).

    Contested (arXiv 2505.14185). Needs the weights of the unaligned base and of the aligned model.
    """

    unaligned: str = Field(description="folder or Hub id of the base before alignment")
    aligned: str | None = Field(
        None, description="folder or Hub id of the aligned model; None: the recipe's base"
    )
    threshold: float = Field(
        0.35, gt=-1, le=1, description="updates whose cosine is below this are projected"
    )


class ProbeConfig(Strict):
    """What the model answers during the run: harmful and harmless requests under the serving form."""

    times: int = Field(0, ge=0, le=100, description="how often in a run; 0: never")
    requests: int = Field(16, ge=1, description="of each kind, the first ones of the shipped sets")
    max_tokens: int = Field(48, ge=1, description="of an answer; a refusal shows in its first words")


class AfterConfig(Strict):
    """What is made of the weights when the run is done."""

    merge: bool = Field(False, description="write merged weights too, verified against the adapter's logits")
    gguf: Literal["f32", "f16", "bf16", "q8_0"] | None = Field(
        None, description="write the merged model as GGUF in this type too"
    )
