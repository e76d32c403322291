"""`check_masks`: what is learned of every sample, checked before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.data.samples import Samples
from chatdoctor_hub.training.data.tokenizing import special_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_masks"]

_BLOCK = 1 << 20  # tokens that are looked at at once
_DECODED = 16  # samples whose learned tokens are decoded


def check_masks(samples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> None:
    """Make sure that every sample has something to learn, and that every doctor's turn ends.

    Of each sample: there are learned tokens, the first token is none of them, every run of them has words
    and ends in a special token, and no id is beyond the tokenizer. Some are decoded as well.

    Args:
        samples: of `encode_data` (checked in blocks, in memory that does not grow with them), or in memory.
        tokenizer: that they were encoded with.

    Raises:
        DataFormatError: when there is no sample, or a mask is empty or misaligned; it names the record.
        ModelFormatError: when a turn does not end in a special token, or an id is beyond the tokenizer.
    """
    import numpy

    if not len(samples):
        raise DataFormatError("Expected encoded dialogues, found none; check the data and max_length.")
    special = numpy.array(sorted(special_ids(tokenizer)), dtype=numpy.int64)
    vocabulary = len(tokenizer)
    whole = isinstance(samples, Samples) and samples.loss_on == "all"

    def named(first: int, at: int = 0) -> str:
        index = first + at
        return samples.record(index) if isinstance(samples, Samples) else f"sample {index}"

    for first, ids, labels, starts in _blocks(samples):
        _check_block(ids, labels, starts, special, vocabulary, whole, partial(named, first))
    for index in sorted({round(at * (len(samples) - 1) / _DECODED) for at in range(_DECODED + 1)}):
        _check_words(samples[index], tokenizer, named(index))


def _blocks(samples: Sequence[Encoded]) -> Any:
    import numpy

    if isinstance(samples, Samples):
        yield from samples.blocks(_BLOCK)
        return
    for index, sample in enumerate(samples):
        ids, labels = numpy.asarray(sample.ids), numpy.asarray(sample.labelled, dtype=bool)
        if ids.shape != labels.shape or not len(ids):
            raise DataFormatError(
                f"sample {index}: expected a label for each token, found {len(labels)} for {len(ids)} tokens; "
                "encode the dialogue again."
            )
        yield index, ids, labels, numpy.array([0, len(ids)])


def _check_block(
    ids: Any,
    labels: Any,
    starts: Any,
    special: Any,
    vocabulary: int,
    whole: bool,
    name: Callable[[int], str],
) -> None:
    import numpy

    begin, end = starts[:-1], starts[1:]

    def refuse(positions: Any, kind: type[Exception], expected: str) -> None:
        if len(positions):
            at = int(numpy.searchsorted(starts, positions[0], side="right")) - 1
            raise kind(f"{name(at)}: expected {expected}")

    empty = numpy.add.reduceat(labels.astype(numpy.int32), begin) == 0
    refuse(
        begin[empty], DataFormatError, "tokens to learn from, found none; the mask is empty: leave it out."
    )
    refuse(
        begin[labels[begin]],
        DataFormatError,
        "a first token that is not learned, found that it is; the mask is misaligned: encode it again.",
    )
    refuse(
        numpy.flatnonzero((ids < 0) | (ids >= vocabulary)),
        ModelFormatError,
        f"ids of the tokenizer's {vocabulary} tokens, found others; it was encoded with another tokenizer.",
    )
    after: Any = numpy.append(labels[1:], False)
    after[end - 1] = False
    before: Any = numpy.append(False, labels[:-1])
    before[begin] = False
    opens, closes = numpy.flatnonzero(labels & ~before), numpy.flatnonzero(labels & ~after)
    if whole:
        # All of the text is learned, and what stands behind the last turn's end with it.
        ends = numpy.isin(ids, special) & labels
        without = numpy.add.reduceat(ends.astype(numpy.int32), begin) == 0
        refuse(
            begin[without], ModelFormatError, "special tokens among those learned, found none; see eos_token."
        )
        return
    refuse(
        closes[~numpy.isin(ids[closes], special)],
        ModelFormatError,
        "the end-of-turn token to be learned with each doctor's turn, found a turn without it; give the "
        "tokenizer an eos_token, or a chat template that ends turns.",
    )
    refuse(
        opens[opens == closes],
        DataFormatError,
        "words before each end-of-turn token that is learned, found a turn of the end alone; the mask is "
        "misaligned: encode it again.",
    )


def _check_words(sample: Encoded, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """The learned tokens, decoded without special ones, are words."""
    learned = [
        int(token) for token, is_learned in zip(sample.ids, sample.labelled, strict=True) if is_learned
    ]
    if not str(tokenizer.decode(learned, skip_special_tokens=True)).strip():
        raise DataFormatError(
            f"{name}: expected the learned tokens to spell words, found none among them; the mask is misaligned: "
            "encode it again."
        )
