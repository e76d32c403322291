"""`Perplexity`: how surprised a model is by held-out answers, with what it was measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chatdoctor_hub.errors import DataFormatError

__all__ = ["Perplexity", "perplexity"]


@dataclass(frozen=True)
class Perplexity:
    """Mean negative log-likelihood of held-out tokens; `value` is its exponential.

    Two perplexities compare only over the same tokens of the same text: the same tokenizer, the same
    prompt form, the same mask.

    Args:
        nll_per_token: mean negative log-likelihood, in nats a token; finite, at least 0.
        tokens: how many tokens were predicted (those under the loss mask); at least 1.
        dialogues: how many dialogues they come from; at least 1. Tokens of one dialogue are not
            independent: the sample size of a comparison is this number.

    Raises:
        DataFormatError: for values outside these ranges.
    """

    nll_per_token: float
    tokens: int
    dialogues: int

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.dialogues < 1:
            raise DataFormatError(
                f"Expected at least 1 token and 1 dialogue under a perplexity, found {self.tokens} and "
                f"{self.dialogues}; the held-out split must not be empty."
            )
        if not (math.isfinite(self.nll_per_token) and self.nll_per_token >= 0):
            raise DataFormatError(
                f"Expected a finite negative log-likelihood of 0 or more, found {self.nll_per_token}; "
                "the model has diverged or the sum is wrong: lower the learning rate or check the loss."
            )

    @property
    def value(self) -> float:
        """exp(nll_per_token): 1 is perfect, the vocabulary's size is a blind guess; inf beyond a float."""
        try:
            return math.exp(self.nll_per_token)
        except OverflowError:
            return math.inf

    def to_record(self) -> dict[str, int | float]:
        """A plain dict for JSON: perplexity, nll_per_token (nats), tokens, dialogues."""
        return {
            "perplexity": self.value,
            "nll_per_token": self.nll_per_token,
            "tokens": self.tokens,
            "dialogues": self.dialogues,
        }

    def __str__(self) -> str:
        return (
            f"{self.value:.2f} ({self.nll_per_token:.3f} nats a token; "
            f"{self.tokens} tokens, {self.dialogues} dialogues)"
        )


def perplexity(total_nll: float, tokens: int, dialogues: int) -> Perplexity:
    """From a sum of negative log-likelihoods (nats) over `tokens` tokens of `dialogues` dialogues.

    Raises:
        DataFormatError: when there is no token or dialogue, or the sum is negative or not finite.
    """
    return Perplexity(total_nll / tokens if tokens >= 1 else 0.0, tokens, dialogues)
