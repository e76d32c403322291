"""Text overlap between answers and references, without a neural scorer: ROUGE-L and chrF.

Both are regression signals: they say that answers moved, not that they became better medicine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chatdoctor_hub.errors import DataFormatError, MissingExtraError

__all__ = ["Overlap", "text_overlap"]

# Scripts written without spaces, one token a character: CJK ideographs (extensions and compatibility
# forms too), the iteration mark and zero, hiragana, katakana (half width too).
_CHARACTER = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+")
_ROUGE_SIGNATURE = "rougeL|f1|stem:no|case:lc|tok:words+cjk-characters|mean"


@dataclass(frozen=True)
class Overlap:
    """ROUGE-L and chrF of candidates against references, as a whole and item by item.

    Args:
        rouge_l: mean ROUGE-L F1, 0 … 1.
        chrf: corpus chrF, 0 … 100 (n-gram counts pooled over all items, as sacrebleu reports it).
        n: number of pairs.
        rouge_l_items: ROUGE-L F1 of each pair, 0 … 1, in order; for `paired_bootstrap`.
        chrf_items: sentence chrF of each pair, 0 … 100, in order. Their mean is not `chrf`.
        signature: both metrics' settings and versions; scores compare only under equal signatures.
    """

    rouge_l: float
    chrf: float
    n: int
    rouge_l_items: tuple[float, ...]
    chrf_items: tuple[float, ...]
    signature: str

    def to_record(self) -> dict[str, int | float | str]:
        """A plain dict for JSON: the two scores, n and the signature, not the items."""
        return {"rouge_l": self.rouge_l, "chrf": self.chrf, "n": self.n, "signature": self.signature}

    def __str__(self) -> str:
        return f"ROUGE-L {self.rouge_l:.3f}, chrF {self.chrf:.1f} (n = {self.n})"


def text_overlap(candidates: Sequence[str], references: Sequence[str]) -> Overlap:
    """Compare each candidate with its reference by ROUGE-L F1 and chrF.

    ROUGE-L (Lin, "ROUGE: A package for automatic evaluation of summaries", 2004) is computed by the
    package rouge-score without stemming, over lower-cased words; on ASCII text the tokens are those of
    rouge-score's own tokenizer. That tokenizer drops everything else, so that Chinese scores 0; here
    each Chinese or Japanese character is a token, and words of other scripts are words. chrF (Popović,
    WMT 2015) is computed by sacrebleu with its defaults and needs no tokens.

    Args:
        candidates: the answers; an empty one scores 0.
        references: as many references, in the same order; none of them empty.

    Raises:
        DataFormatError: for unequal lengths, no pairs, something that is not text, or an empty reference.
        MissingExtraError: without rouge-score or sacrebleu.
    """
    _check(candidates, references)
    scorer, chrf = _rouge(), _chrf()
    rouge_items = tuple(
        float(scorer.score(reference, candidate)["rougeL"].fmeasure)
        for candidate, reference in zip(candidates, references, strict=True)
    )
    chrf_items = tuple(
        float(chrf.sentence_score(candidate, [reference]).score)
        for candidate, reference in zip(candidates, references, strict=True)
    )
    corpus = float(chrf.corpus_score(list(candidates), [list(references)]).score)
    return Overlap(
        rouge_l=sum(rouge_items) / len(rouge_items),
        chrf=corpus,
        n=len(rouge_items),
        rouge_l_items=rouge_items,
        chrf_items=chrf_items,
        signature=f"{_ROUGE_SIGNATURE}|version:{_version('rouge-score')} chrF|{chrf.get_signature()}",
    )


class _Tokenizer:
    """What rouge-score asks of a tokenizer: `tokenize(text) -> list of tokens`."""

    def tokenize(self, text: str) -> list[str]:
        return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())


@lru_cache(maxsize=1)
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("rouge-score", "eval") from error
    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Tokenizer())


def _chrf() -> Any:
    try:
        from sacrebleu.metrics import CHRF
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "eval") from error
    return CHRF()


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _check(candidates: Sequence[str], references: Sequence[str]) -> None:
    for name, texts in (("candidates", candidates), ("references", references)):
        if isinstance(texts, str):
            raise DataFormatError(
                f"Expected {name} to be a list of texts, found one text; wrap it in a list."
            )
    if len(candidates) != len(references):
        raise DataFormatError(
            f"Expected as many candidates as references, found {len(candidates)} and {len(references)}; "
            "pair each answer with its reference."
        )
    if not candidates:
        raise DataFormatError(
            "Expected at least 1 candidate and reference, found none; the test split must not be empty."
        )
    for number, (candidate, reference) in enumerate(zip(candidates, references, strict=True)):
        for name, text in (("candidate", candidate), ("reference", reference)):
            if not isinstance(text, str):
                raise DataFormatError(
                    f"Expected {name} {number} (from 0) to be text, found {type(text).__name__}; "
                    "turn it into a string first."
                )
        if not reference.strip():
            raise DataFormatError(
                f"Expected words in reference {number} (from 0), found none; leave that pair out."
            )
