"""How the entries of a disease table read inside a sentence: articles, capitals, "my" and "your", lists.

Tables differ: some hold patients' words ("a tight chest"), some only title-case terms ("Chest tightness",
"Complete blood count (Cbc)"). `RowWords` settles a row once; the word lists are in `data/wording.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chatdoctor_hub.corpus.writing.grammar import read_data
from chatdoctor_hub.knowledge import Disease, Medication

__all__ = ["RowWords", "lead_in", "listed", "says_when", "specific_stems", "stems", "your"]

_PREPOSITION = re.compile(
    r"\s(?:of|for|on|with|to|in|if|when|once|before|after|without|under|including|at|where|while|from|by|due|"
    r"as|that|who|which|since|until|over)\s|\s\(|,"
)
_YOUR = {
    "i'm": "you're",
    "i am": "you are",
    "i was": "you were",
    "i've": "you've",
    "i": "you",
    "my": "your",
    "me": "you",
    "mine": "yours",
    "myself": "yourself",
}
_FIRST_PERSON = re.compile(r"\b(I'm|I am|I was|I've|I|my|me|mine|myself)\b", re.IGNORECASE)
_SPOKEN_TIME = re.compile(
    r"\b(?:weeks|months|years|days|lately|sudden\w*|recent\w*|hours?|since|overnight|after a fall|result|"
    r"readings?|routine|winter|spring|minutes|went away|passed|drooped|now and then)\b"
)
_DEFINITION = re.compile(r"[^.,]{0,60}?\b(?:is|are|was)(?: \w+,)? (?:an?|the|any|one|inflammation)\b")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


@lru_cache(maxsize=1)
def _words() -> dict[str, Any]:
    return read_data("chatdoctor_hub.corpus.writing", "wording")


def specific_stems(text: str) -> frozenset[str]:
    """The same without the words that many symptoms share, such as "pain"."""
    return stems(text) - _vague()


@lru_cache(maxsize=1)
def _vague() -> frozenset[str]:
    return frozenset(_words()["vague"])


@lru_cache(maxsize=1)
def _idle() -> frozenset[str]:
    return frozenset(_words()["idle"])


@lru_cache(maxsize=16)
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_words()[name], re.IGNORECASE)


def listed(items: Sequence[str], joint: str = "and") -> str:
    """`a, b and c`, with a comma before the joint where an item has one of its own."""
    if len(items) < 2:
        return "".join(items)
    heavy = any("," in item or f" {joint} " in item for item in items)
    return f"{', '.join(items[:-1])}{',' if heavy else ''} {joint} {items[-1]}"


def your(text: str) -> str:
    """A patient's words as said back by the doctor: "my knee" becomes "your knee"."""
    return _FIRST_PERSON.sub(lambda match: _YOUR[match.group().lower()], text)


@lru_cache(maxsize=8192)
def stems(text: str) -> frozenset[str]:
    """The content words of a text, cut to their first letters so that "coughing" meets "cough"."""
    idle = _idle()
    return frozenset(word[:5] for word in _WORD.findall(text.lower()) if len(word) > 2 and word not in idle)


def _lowered(text: str) -> str:
    """`text` without the capital of a table entry; abbreviations and names keep theirs."""
    first = re.split(r"[\s,]", text, maxsplit=1)[0]
    bare = re.split(r"['’-]", first)[0]
    if sum(letter.isupper() for letter in first) > 1 or re.search(r"\d", bare) or bare in _words()["proper"]:
        return text
    if len(bare) == 1 and bare != "A":
        return text
    return text[:1].lower() + text[1:]


def _head(text: str) -> str:
    """The word that decides about the article: the last one before the first preposition."""
    return (_PREPOSITION.split(text, maxsplit=1)[0].split() or [""])[-1].strip(".,;:").lower()


def _disease_name(name: str) -> str:
    plain = re.sub(r"\s*\([^)]*\)", "", name.replace("\\", "")).strip() or name.strip()
    counted = _head(plain) in _words()["counted_disease"]
    return ("a(n) " if counted else "") + _lowered(plain)


def _symptom(entry: str) -> str:
    """An entry of a column of clinical terms as a patient could say it."""
    text = _lowered(" ".join(entry.split()))
    words = _words()
    if text.lower() in words["rewritten"]:
        return str(words["rewritten"][text.lower()])
    for pattern, by in words["patterns"]:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, by, text)
    return f"a(n) {text}" if _head(text) in words["counted_symptom"] else text


def _test(entry: str) -> str:
    """A test with its article, or "" for an entry that is a treatment or a list of several things."""
    words = _words()
    if _pattern("not_a_test").search(entry):
        return ""
    text = _lowered(re.sub(r"\s*\([^)]*\)", "", entry).replace("x-ray", "X-ray").strip())
    if re.match(r"(?:an?|the)\s", text):
        return text
    main = _PREPOSITION.split(text, maxsplit=1)[0]
    first = main.split(" and ")[0]
    counted = first != main and first.split()[-1] in words["counted_first"]
    head = _head(text)
    plural = head.endswith("s") and not head.endswith(("ss", "sis", "us", "is"))
    bare = head in words["uncounted_test"] or head.endswith(tuple(words["uncounted_endings"]))
    return text if (plural or bare) and not counted else f"a(n) {text}"


def _medication(medication: Medication) -> str:
    name = _lowered(" ".join(medication.name.split()))
    named = name.lower()
    examples = [_lowered(example) for example in medication.examples[:2] if example.lower() not in named]
    if not medication.examples:
        drug = re.sub(r"\s*\([^)]*\)|,.*| Product\b", "", name)
        return " ".join(_lowered(word) for word in drug.split())
    if not examples or any(mark in name for mark in ("(", "/")):
        return name
    if _pattern("qualified").search(name):
        return f"{name} (for example {listed(examples, 'or')})"
    return f"{name} such as {listed(examples, 'or')}"


def _causes(cause: str) -> tuple[str, ...]:
    """The first sentence of a cause, and the second where both are clean and of sensible length."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(cause.split()))
    kept: list[str] = []
    for sentence in sentences[:2]:
        text = re.sub(r",\s*,", ",", re.sub(r"\s*\([^()]*\)", "", sentence))
        clean = re.fullmatch(r"(?!For\b|See\b)[A-Z][A-Za-z0-9 ,;:'’%.\-]+\.", text)
        if not clean or re.match(r"[^,]*, (?:is|are)\b", text) or not 6 <= len(text.split()) <= 36:
            break
        kept.append(text)
    return tuple(kept)


@dataclass(frozen=True)
class RowWords:
    """A row of a disease table in words that fit into sentences; "a(n)" is settled when a sentence is.

    Args:
        disease: its name in the middle of a sentence.
        symptoms: in the patient's words ("a tight chest", "cramps in my legs").
        terms: the clinical terms, where the row has patients' words as well.
        causes: sentences that explain it; the first may be led in by "With …,".
        tests, medications, care, flags, questions: as in the table, fit to be listed or asked.
        see: the sentence on when to see a doctor, or "".
        urgent: whether that sentence calls for an ambulance or an emergency department.
        span: "hours", "days" or "weeks", the time for which it is likely to have lasted.
        ages: the youngest and the oldest age that a patient may give.
        child: whether the patient is a child, so that a parent speaks.
    """

    disease: str
    symptoms: tuple[str, ...]
    terms: tuple[str, ...]
    causes: tuple[str, ...]
    tests: tuple[str, ...]
    medications: tuple[str, ...]
    care: tuple[str, ...]
    flags: tuple[str, ...]
    questions: tuple[str, ...]
    see: str
    urgent: bool
    span: str
    ages: tuple[int, int]
    child: bool

    @classmethod
    def of(cls, row: Disease) -> RowWords:
        """Settle the words of one row."""
        urgent = bool(_pattern("urgent").search(row.see_doctor))
        terms = _distinct(_symptom(entry) for entry in row.symptoms)
        lay = _distinct(" ".join(entry.split()) for entry in row.lay_symptoms)
        return cls(
            disease=_disease_name(row.name),
            symptoms=lay or terms,
            terms=terms if lay else (),
            causes=_causes(row.cause),
            tests=_distinct(_test(entry) for entry in row.tests),
            medications=_distinct(_medication(entry) for entry in row.medications),
            care=_distinct(_lowered(entry.strip().rstrip(".")) for entry in row.self_care),
            flags=_distinct(_lowered(entry.strip().rstrip(".")) for entry in row.red_flags),
            questions=_distinct(row.questions),
            see=row.see_doctor.strip(),
            urgent=urgent,
            span="hours" if urgent else _span(row),
            ages=_ages(row),
            child=any("your child" in question for question in row.questions) and not _speaks_of_self(lay),
        )

    def durations(self) -> Sequence[Sequence[str]]:
        """Pairs of how long it has lasted: for use after "for" and after "the past"."""
        pairs: Sequence[Sequence[str]] = _words()["durations"][self.span]
        return pairs

    def own_flags(self, told: Iterable[str]) -> tuple[str, ...]:
        """The red flags that do not repeat what the patient has told."""
        known = stems(" ".join(told))
        return tuple(flag for flag in self.flags if len(stems(flag) & known) * 2 <= len(stems(flag)))

    def askable_flags(self, told: Iterable[str]) -> tuple[str, ...]:
        """The red flags that a patient can be asked about with "have you had …?"."""
        others = _pattern("others_only")
        known = stems(" ".join(told))
        return tuple(
            flag
            for flag in self.flags
            if not flag.startswith(("being", "not ", "any "))
            and not others.search(flag)
            and not stems(flag) & known
        )


def _span(row: Disease) -> str:
    """Days for what comes with fever, vomiting or an injury, else weeks; words of lasting illness go first."""
    named = " ".join((row.name, *row.lay_symptoms))
    if _pattern("lasting").search(named):
        return "weeks"
    told = " ".join((named, *row.symptoms, row.see_doctor))
    return "days" if _pattern("acute").search(told) else "weeks"


def _ages(row: Disease) -> tuple[int, int]:
    about = " ".join((row.name, row.cause.split(". ")[0], *row.lay_symptoms))
    if _pattern("elderly").search(about):
        return 52, 78
    return (20, 44) if _pattern("fertile").search(about) else (22, 64)


def says_when(text: str) -> bool:
    """Whether the words already say since when or how long, so that no duration should be added."""
    return bool(_SPOKEN_TIME.search(text))


def lead_in(cause: str, disease: str) -> str:
    """`cause` so that it can follow "With …,", or "" where it must stand by itself."""
    first = disease.removeprefix("a(n) ").split()[0].lower()
    if cause.lower().startswith(first) or re.match(r"(?:In|This|These|Here|Often|Despite|On|With)\b", cause):
        return ""
    if re.search(rf"\b{re.escape(first)}\b", cause.lower()) or _DEFINITION.match(cause):
        return ""
    return _lowered(cause)


def _speaks_of_self(entries: Iterable[str]) -> bool:
    return any(_FIRST_PERSON.search(entry) for entry in entries)


def _distinct(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry for entry in entries if entry))
