"""How an answer is drawn, and where it stops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import ConfigError

__all__ = ["Sampling", "is_whole"]


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
        frequency_penalty: taken from a token's score for each time it was written; 0 means none.
        presence_penalty: taken from a token's score once it was written; 0 means none.
        max_tokens: the longest answer, in tokens; cut further where the model's context ends.
        stop: the answer ends before the first of these strings; one string or several.
        seed: makes drawn answers repeatable; what else is in the batch takes no random numbers from them, but its
            rounding can tip a draw between tokens that are as likely to the last digits. None draws afresh each time.

    Raises:
        ConfigError: listing every setting that is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
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
                ("top_k", "a whole number of at least 0 (0 = all)", is_whole(self.top_k, 0)),
                (
                    "repetition_penalty",
                    "a number above 0 (1 = none)",
                    _number(self.repetition_penalty, above=0),
                ),
                (
                    "frequency_penalty",
                    "a number from -2 to 2",
                    _number(self.frequency_penalty, least=-2, most=2),
                ),
                (
                    "presence_penalty",
                    "a number from -2 to 2",
                    _number(self.presence_penalty, least=-2, most=2),
                ),
                ("max_tokens", "a whole number of at least 1", is_whole(self.max_tokens, 1)),
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


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _seed(value: Any) -> bool:
    return is_whole(value, 0) and value < 2**63
