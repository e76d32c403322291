"""`Purity`: no safety prompt among what is tuned on (PTST, arXiv 2402.18540)."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import PurityError
from chatdoctor_hub.prompts import PromptPair, known_safety_prompts
from chatdoctor_hub.safety import find_safety_wording

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Purity"]

_NAMED = 10
_REMEMBERED = 1 << 14
_LONG = 40  # characters from which a text is a prompt, wherever it stands
_PROBE = Dialogue((Turn("patient", "Probe."), Turn("doctor", "Reply.")))


class Purity:
    """Judges what is tuned on, and keeps what it found until all has been read.

    A dialogue is not pure when its system words count as a safety prompt, or when a known one stands in any
    other turn of it. The judgement comes before rendering, which would leave the pair's own out in silence.

    Args:
        pair: whose safety prompt and serving form are known.
        allow: whether what is found is counted only.

    Attributes:
        found: reason -> dialogues.
    """

    def __init__(self, pair: PromptPair, *, allow: bool = False) -> None:
        self._pair = pair
        self._allow = allow
        # Without a safety prompt both forms are the same text, and that one is pure.
        own = (pair.safety,) if pair.safety else ()
        known = tuple(dict.fromkeys(text for text in (*own, *known_safety_prompts()) if text.strip()))
        self._known = tuple(text for text in known if len(text) >= _LONG)
        self._judge = lru_cache(_REMEMBERED)(lambda text: find_safety_wording(text, known))
        self._where: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {}
        self.found: Counter[str] = Counter()

    @property
    def refused(self) -> bool:
        """Whether something was found that is not allowed: nothing more need be encoded."""
        return bool(self.found) and not self._allow

    def prompt(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Judge what stands in front of every dialogue: the pair's words, and those of the chat template.

        Raises:
            PurityError: when it counts as a safety prompt and that is not allowed.
        """
        where, reason = f"the training form of prompt {self._pair.id}", self._judge(self._pair.training_text)
        if not reason:
            where = "what the base's chat template writes of its own"
            reason = self._judge(self._pair.render_training(_PROBE, tokenizer)[0])
        if not reason:
            return
        if not self._allow:
            raise PurityError(
                f"Expected a training form without a safety prompt (PTST), found that {where} {reason}; choose "
                "another prompt or template, or set allow_safety_in_training: true."
            )
        self.found[f"{where}: {reason}"] += 1

    def dialogue(self, dialogue: Dialogue, source: str, record: str) -> None:
        """Judge a dialogue.

        Args:
            dialogue: as it was read.
            source: where it comes from.
            record: which one it is there.
        """
        reason = None
        for turn in dialogue.turns:
            if turn.role == "system":
                reason = self._judge(turn.content)
            elif any(text in turn.content for text in self._known):
                reason = f"a {turn.role} turn holds a known safety prompt"
            if reason:
                break
        if not reason:
            return
        self.found[reason] += 1
        self._counts[source] += 1
        self._reasons.setdefault(source, Counter())[reason] += 1
        if len(named := self._where.setdefault(source, [])) < _NAMED:
            named.append(record)

    def verdict(self) -> None:
        """Refuse the data if anything was found and that is not allowed.

        Raises:
            PurityError: with the sources, counts, reasons and the first record numbers.
        """
        if not self.refused:
            return
        parts = []
        for source, count in self._counts.items():
            reasons = "; ".join(
                f"{reason}: {times}" for reason, times in self._reasons[source].most_common(5)
            )
            more = ", …" if count > _NAMED else ""
            parts.append(f"{count} in {source} (records {', '.join(self._where[source])}{more}; {reasons})")
        raise PurityError(
            "Expected dialogues without a safety prompt, as they are tuned on pure and served with it (PTST), "
            f"found {' and '.join(parts)}; take the safety wording out of the system words, or set "
            "allow_safety_in_training: true."
        )
