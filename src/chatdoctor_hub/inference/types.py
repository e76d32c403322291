"""What is asked of an engine and what it answers, as frozen values.

Messages are in the Hub's format: `{"role": "system" | "user" | "assistant" | "tool", "content": str}`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chatdoctor_hub.errors import ConfigError

__all__ = ["ChatDelta", "ChatReply", "ChatRequest", "EngineInfo", "FinishReason", "Form", "Sampling", "Usage"]

Form = Literal["serving", "training"]
"""With the safety prompt ("serving", the default everywhere) or without it ("training", for measurements)."""

FinishReason = Literal["stop", "length"]
"""The model ended its turn or met a stop string ("stop"), or ran out of tokens ("length")."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when to stop.

    The order is that of transformers: repetition penalty, temperature, top k, top p.

    Args:
        temperature: 0 takes the likeliest token each time (greedy); above 0 draws, the flatter the higher.
        top_p: draw from the likeliest tokens that together hold this probability; above 0, at most 1.
        top_k: draw from this many likeliest tokens; 0 means all.
        repetition_penalty: divides the scores of tokens seen before, in prompt or answer (CTRL,
            arXiv 1909.05858); 1 means none.
        max_tokens: the longest answer, in tokens; cut further where the model's context ends.
        stop: the answer ends before the first of these strings; one string or several.
        seed: makes drawn answers repeatable, whatever else is in the batch; None draws afresh each time.

    Raises:
        ConfigError: listing every setting that is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        stop: Any = self.stop
        if stop is None or isinstance(stop, str):
            object.__setattr__(self, "stop", (stop,) if stop is not None else ())
        elif isinstance(stop, Sequence):
            object.__setattr__(self, "stop", tuple(stop))
        faults = [
            f"{name} must be {allowed}, found {getattr(self, name)!r}"
            for name, allowed, good in (
                ("temperature", "a number of at least 0 (0 = greedy)", _number(self.temperature, least=0)),
                ("top_p", "a number above 0 and at most 1", _number(self.top_p, above=0, most=1)),
                ("top_k", "a whole number of at least 0 (0 = all)", _whole(self.top_k, 0)),
                (
                    "repetition_penalty",
                    "a number above 0 (1 = none)",
                    _number(self.repetition_penalty, above=0),
                ),
                ("max_tokens", "a whole number of at least 1", _whole(self.max_tokens, 1)),
                ("seed", "None or a whole number from 0 to 2**63 - 1", self.seed is None or _seed(self.seed)),
            )
            if not good
        ]
        if not isinstance(self.stop, tuple) or not all(isinstance(s, str) and s for s in self.stop):
            faults.append("stop must be strings that are not empty")
        if faults:
            raise ConfigError(f"Expected settings for sampling that are in range: {'; '.join(faults)}.")


def _number(
    value: Any, *, least: float | None = None, above: float | None = None, most: float = math.inf
) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return (least is None or value >= least) and (above is None or value > above) and value <= most


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _seed(value: Any) -> bool:
    return _whole(value, 0) and value < 2**63


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to be answered.

    Args:
        messages: the conversation so far, without any prompt of ours: the engine applies the prompt pair.
        sampling: how to choose the tokens.
        form: "serving" (with the safety prompt) or "training" (without, to measure what it does).

    Raises:
        ConfigError: for another form.
    """

    messages: tuple[Mapping[str, Any], ...]
    sampling: Sampling = field(default_factory=Sampling)
    form: Form = "serving"

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        if self.form not in get_args(Form):
            raise ConfigError(
                f"Expected the form of a request to be one of {', '.join(get_args(Form))}, found "
                f"{self.form!r}; use 'serving' unless the effect of the safety prompt is what you measure."
            )


@dataclass(frozen=True)
class Usage:
    """Tokens read and written.

    Args:
        input_tokens: tokens of the whole prompt, the safety prompt and the template's marks included.
        output_tokens: tokens the model wrote, the one that ends its turn included.
    """

    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        """Tokens read and written together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class ChatReply:
    """A whole answer.

    Args:
        text: the answer; a stop string that ended it is not part of it.
        finish_reason: "stop" or "length".
        usage: tokens read and written.
        model: the name of the model that answered.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str


@dataclass(frozen=True)
class ChatDelta:
    """A piece of an answer; the texts of a stream, joined, are the text of the whole answer.

    Args:
        text: the new characters; never half a character, and empty in the last piece.
        finish_reason: set in the last piece only.
        usage: set in the last piece only.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is and runs on.

    Args:
        engine: the kind of engine ("LocalEngine").
        model: the model's name: the folder or Hub id it was loaded from, or the name it was given.
        prompt: id of the prompt pair that is applied.
        serving_sha256: digest of the pair's serving form.
        device: "cpu", "cuda:0", "mps"; "none" where nothing is computed.
        dtype: "float32", "bfloat16", "float16"; "none" where nothing is computed.
        context_length: tokens that prompt and answer may have together; None where there is no limit.
        fingerprint: changes when the weights do; part of the key of cached answers.
    """

    engine: str
    model: str
    prompt: str
    serving_sha256: str
    device: str
    dtype: str
    context_length: int | None
    fingerprint: str = ""
