"""`preview`: one encoded dialogue as text, what is learned of it in colour."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.data.tokenizing import special_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["preview"]

_LEARNED, _LEARNED_SPECIAL, _SPECIAL, _OTHER = "bold green", "bold black on green", "magenta", "dim"


def preview(sample: Encoded, tokenizer: PreTrainedTokenizerBase) -> Text:
    """The decoded text of a sample: learned words green, learned special tokens on green, the rest dim.

    It shows what a patient said: for the eyes of whoever asked for it, and for no log.
    """
    special = special_ids(tokenizer)
    text = Text()
    tokens = ((int(token), bool(learned)) for token, learned in zip(sample.ids, sample.labelled, strict=True))
    for (learned, is_special), run in groupby(tokens, key=lambda pair: (pair[1], pair[0] in special)):
        words = tokenizer.decode([token for token, _ in run], clean_up_tokenization_spaces=False)
        style = (
            (_LEARNED_SPECIAL if is_special else _LEARNED)
            if learned
            else (_SPECIAL if is_special else _OTHER)
        )
        text.append(str(words), style)
    return text
