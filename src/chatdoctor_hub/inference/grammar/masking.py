"""Taking what grammars do not allow out of a batch's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatdoctor_hub.inference.grammar.guiding import Guide

if TYPE_CHECKING:
    import torch

__all__ = ["restrict"]


def restrict(logits: torch.Tensor, guides: Sequence[Guide | None]) -> torch.Tensor:
    """The scores with -inf for every token that a row's grammar does not allow.

    Args:
        logits: scores, (rows, vocabulary); not changed.
        guides: one a row; None for a row that may write anything.

    Raises:
        GenerationError: when a grammar allows none of the tokens.
    """
    import torch

    rows = [row for row, guide in enumerate(guides) if guide is not None and guide.restricts]
    if not rows:
        return logits
    matchers = [guide.matcher for guide in guides if guide is not None and guide.restricts]
    bits = torch.zeros(len(rows), max(matcher.words for matcher in matchers), dtype=torch.int32)
    for place, matcher in zip(bits, matchers, strict=True):
        matcher.mask(place.data_ptr())
    bits = bits.to(logits.device)
    shifts = torch.arange(32, dtype=torch.int32, device=logits.device)
    allowed = ((bits.unsqueeze(-1) >> shifts) & 1).bool().flatten(1)[:, : logits.shape[1]]
    banned = torch.ones(len(rows), logits.shape[1], dtype=torch.bool, device=logits.device)
    banned[:, : allowed.shape[1]] = ~allowed
    restricted = logits.clone()
    restricted[rows] = logits[rows].masked_fill(banned, float("-inf"))
    return restricted
