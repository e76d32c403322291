"""What a doctor says of a row: the answer, the sentence on one subject, the questions.

An answer has 40 to 110 words. What it may be, and either red flags or when to see a doctor, are always in
it; the rest is drawn until the answer is long enough. Nothing is claimed as certain.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from chatdoctor_hub.corpus.writing.grammar import Grammar, draw, pick, tidy
from chatdoctor_hub.corpus.writing.wording import RowWords, lead_in, listed, your

__all__ = ["Advice"]

_LEAST, _MOST = 40, 110
_SHORTEST_GOAL, _LONGEST_GOAL = 52, 102
_ORDERS = (
    ("ack", "possible", "why", "others", "examine", "tests", "meds", "care", "red", "see", "worse"),
    ("ack", "possible", "why", "others", "tests", "meds", "care", "see", "examine", "red", "worse"),
    ("ack", "possible", "why", "care", "others", "examine", "tests", "meds", "see", "red", "worse"),
    ("ack", "possible", "others", "why", "see", "examine", "tests", "meds", "care", "red", "worse"),
)
_URGENT_ORDER = (
    "ack",
    "see",
    "possible",
    "why",
    "others",
    "care",
    "tests",
    "meds",
    "examine",
    "red",
    "worse",
)


class Advice:
    """A doctor's words about one row for one patient.

    Args:
        words: the row.
        rng: where the choices come from.
        grammar: "doctor-words".
        told: the symptoms that the patient has spoken of or confirmed.
        untold: the others.
    """

    def __init__(
        self,
        words: RowWords,
        rng: random.Random,
        grammar: Grammar,
        told: Sequence[str],
        untold: Sequence[str],
    ) -> None:
        self._words, self._rng, self._grammar = words, rng, grammar
        self._told, self._untold = told, untold
        self.said: set[str] = set()

    def answer(self, *, asked: bool, named: bool, kept_back: str = "") -> str:
        """The main answer.

        Args:
            asked: whether the doctor has asked questions before.
            named: whether the patient has named the disease.
            kept_back: a subject that is left for a later turn, or "".
        """
        signs = listed([your(item) for item in draw(self._rng, self._told, 2)])
        chosen = {
            "possible": self._raw("named" if named else "possible", disease=self._words.disease, signs=signs)
        }
        subjects = {"why", "tests", "meds", "care", "red", "see"} - {kept_back} - self.said
        for kind in self._first_of_safety(subjects):
            self._add(chosen, kind, most=1000)
        goal = _SHORTEST_GOAL + self._rng.random() * (_LONGEST_GOAL - _SHORTEST_GOAL)
        opening = self._opening(chosen["possible"], signs, asked)
        if opening:
            chosen["ack"] = opening
        for kind in draw(self._rng, sorted(subjects - set(chosen)), len(subjects)):
            if _length(chosen) < goal:
                self._add(chosen, kind)
        for kind in draw(self._rng, ("others", "examine", "see_plain"), 3):
            if _length(chosen) < _LEAST + 5 and not (kind == "see_plain" and "see" in chosen):
                self._add(chosen, kind)
        if _length(chosen) < _LEAST:
            chosen["worse"] = self._raw("worse")
        self.said |= set(chosen)
        order = _URGENT_ORDER if self._words.urgent else pick(self._rng, _ORDERS)
        chosen.setdefault("see", chosen.get("see_plain", ""))
        return tidy(" ".join(chosen[kind] for kind in order if chosen.get(kind)))

    def on(self, subject: str) -> str:
        """A later answer on one subject, and one more thing that was not said yet."""
        further = draw(self._rng, sorted({"see", "red", "care", "meds"} - self.said - {subject}), 1)
        return tidy(" ".join([self._tell(subject, full=True), *(self._tell(kind) for kind in further)]))

    def asking(self, questions: str, *, first: bool, several: bool) -> str:
        """The turn in which the doctor asks; for an emergency, it says first whom to call."""
        if self._words.urgent:
            self.said.add("see")
            return self._grammar.expand("ask_urgent", self._rng, questions=questions, see=self._words.see)
        signs = listed([your(item) for item in self._told[:2]])
        rule = ("ask_two" if several else "ask_one") if first else "ask_more"
        return self._grammar.expand(rule, self._rng, questions=questions, signs=signs)

    def _first_of_safety(self, subjects: set[str]) -> list[str]:
        if self._words.urgent:
            return ["see"] if "see" in subjects and self._words.see else ["red"]
        kinds = [kind for kind in ("red", "see") if kind in subjects and self._tells(kind)]
        return [pick(self._rng, kinds)] if kinds else []

    def _tells(self, kind: str) -> bool:
        return bool(self._words.see if kind == "see" else self._words.own_flags(self._told))

    def _add(self, chosen: dict[str, str], kind: str, most: int = _MOST - 2) -> None:
        text = self._tell(kind)
        if text and _length(chosen) + len(text.split()) <= most:
            chosen[kind] = text

    def _opening(self, possible: str, signs: str, asked: bool) -> str:
        if asked:
            return self._raw("after")
        if self._words.urgent:
            return self._raw("urgent_ack")
        return self._raw("sorry" if signs in possible else "ack", signs=signs)

    def _raw(self, rule: str, **slots: str) -> str:
        return self._grammar.raw(rule, self._rng, **slots)

    def _tell(self, kind: str, full: bool = False) -> str:
        """A sentence on one subject, or "" where the row has nothing on it."""
        if kind == "see":
            return self._words.see
        if kind in ("examine", "see_plain"):
            return self._raw(kind)
        tell = {"why": self._why, "red": self._red, "care": self._care, "others": self._others}
        return tell[kind](full) if kind in tell else self._treatment(kind)

    def _why(self, full: bool) -> str:
        if not self._words.causes:
            return ""
        cause, *more = self._words.causes
        tail = f" {more[0]}" if more and (full or self._rng.random() < 0.3) else ""
        led = lead_in(cause, self._words.disease)
        if not led or self._rng.random() < 0.2:
            return cause + tail
        return self._raw("why", disease=self._words.disease, cause=led) + tail

    def _treatment(self, kind: str) -> str:
        """Tests or medications."""
        if kind == "tests":
            drawn = draw(self._rng, self._words.tests, 1 + int(self._rng.random() * 3))
            drawn.sort(key=lambda test: " if " in test)  # a condition reads best at the end of the list
        else:
            drawn = draw(self._rng, self._words.medications, 1 + int(self._rng.random() * 2))
        rule = f"{kind}_urgent" if self._words.urgent else kind
        return self._raw(rule, tests=listed(drawn), meds=listed(drawn)) if drawn else ""

    def _red(self, full: bool) -> str:
        flags = draw(
            self._rng, self._words.own_flags(self._told), 3 if full else 2 + int(self._rng.random() * 2)
        )
        plain = not any(flag.startswith(("being ", "not ", "no ")) or " being " in flag for flag in flags)
        return self._raw("red" if plain else "red_for", flags=listed(flags, "or")) if flags else ""

    def _others(self, full: bool) -> str:
        pool = self._words.terms if self._words.terms and self._rng.random() < 0.6 else self._untold
        others = [your(item) for item in draw(self._rng, pool, 2)]
        return self._raw("others", others=listed(others)) if others else ""

    def _care(self, full: bool) -> str:
        care = draw(self._rng, self._words.care, 3 if full else 1 + int(self._rng.random() * 2))
        if not care:
            return ""
        if self._words.urgent:
            return self._raw("care_urgent", care=listed(care))
        forbids = any(item.startswith(("never", "if ", "not ")) or "do not" in item for item in care)
        return self._raw(
            "care_any" if forbids else pick(self._rng, ("care_any", "care_good")), care=listed(care)
        )


def _length(chosen: dict[str, str] | Iterable[str]) -> int:
    texts = chosen.values() if isinstance(chosen, dict) else chosen
    return sum(len(text.split()) for text in texts)
