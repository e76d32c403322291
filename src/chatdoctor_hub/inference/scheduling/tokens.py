"""The next token of every row, where a row that cannot have one fails alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatdoctor_hub.errors import ChatDoctorError, GenerationError
from chatdoctor_hub.inference.choosing import Chooser
from chatdoctor_hub.inference.grammar import Guide, restrict
from chatdoctor_hub.inference.row import Row
from chatdoctor_hub.inference.types import ChatDelta, TokenLogprob
from chatdoctor_hub.models import first_line

if TYPE_CHECKING:
    import torch

__all__ = ["Written", "write_tokens"]

Written = tuple[int, ChatDelta | Exception]
"""A token, and what it made certain of the answer or why the row cannot go on."""


def write_tokens(
    rows: Sequence[Row], logits: torch.Tensor, chooser: Chooser, spell: Callable[[int], str]
) -> list[Written]:
    """Choose a token for each row and add it.

    Args:
        rows: that are not finished.
        logits: their scores, (rows, vocabulary), float32.
        chooser: chooses by the rows' settings.
        spell: the text of a token, for log-probabilities.
    """
    failed: dict[int, Exception] = {}
    logits = _numbers(rows, logits, failed)
    allowed = _restricted(rows, logits, failed)

    def settled(tokens: list[int]) -> list[int]:
        for place, row in enumerate(rows):
            if row.guide is not None and place not in failed:
                try:
                    tokens[place] = row.guide.settle(tokens[place], row.left)
                except Exception as error:  # noqa: BLE001  it is this row's alone
                    failed[place] = _as_ours(error)
        return tokens

    tokens = chooser.choose(allowed, settled)
    written: list[Written] = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        if place in failed:
            written.append((token, failed[place]))
            continue
        try:
            written.append((token, row.take(token, _logprob(row, token, logits[place], spell))))
        except Exception as error:  # noqa: BLE001  it is this row's alone
            written.append((token, _as_ours(error)))
    return written


def _numbers(rows: Sequence[Row], logits: torch.Tensor, failed: dict[int, Exception]) -> torch.Tensor:
    """The scores, with 0 in rows that hold NaN: these fail, and are chosen from as if they did not."""
    import torch

    lost = torch.isnan(logits).any(dim=-1)
    if not bool(lost.any()):
        return logits
    for place in lost.nonzero().flatten().tolist():
        failed[place] = GenerationError(
            f"Expected scores from the model, found NaN after {rows[place].written} tokens; its weights are "
            "damaged, or the dtype is too narrow: try dtype='float32'."
        )
    return logits.masked_fill(lost.unsqueeze(1), 0.0)


def _restricted(rows: Sequence[Row], logits: torch.Tensor, failed: dict[int, Exception]) -> torch.Tensor:
    guides: list[Guide | None] = [None if place in failed else row.guide for place, row in enumerate(rows)]
    try:
        return restrict(logits, guides)
    except GenerationError:
        for place, guide in enumerate(guides):
            try:
                restrict(logits[place : place + 1], [guide])
            except GenerationError as error:
                failed[place], guides[place] = error, None
        return restrict(logits, guides)


def _logprob(row: Row, token: int, logits: torch.Tensor, spell: Callable[[int], str]) -> TokenLogprob | None:
    """What the model itself gave the token, before penalties, grammars and temperature."""
    if row.alternatives is None:
        return None
    scores = logits.log_softmax(dim=-1)
    top = scores.topk(min(row.alternatives, len(scores)))
    others = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return TokenLogprob(
        spell(token), float(scores[token]), tuple((spell(other), score) for other, score in others)
    )


def _as_ours(error: Exception) -> Exception:
    if isinstance(error, ChatDoctorError):
        return error
    ours = GenerationError(
        f"Expected an answer that can be read token by token, found that it cannot ({first_line(error)}); see "
        "the error it was raised from."
    )
    ours.__cause__ = error
    return ours
