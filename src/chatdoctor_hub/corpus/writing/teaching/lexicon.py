"""Which drugs, tests and conditions a text names: whole words of a shipped list and of a disease table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from chatdoctor_hub.corpus.writing.grammar import read_data
from chatdoctor_hub.knowledge import Disease

__all__ = ["Lexicon", "Named", "row_text"]

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_BRACKETS = re.compile(r"\(([^()]*)\)")
_FORM = re.compile(
    r"\b(?:topical|ophthalmic|otic|nasal|oral|rectal|vaginal|product|preparation|extract|obsolete|human|usp)\b",
    re.IGNORECASE,
)
_NOT_A_TEST = re.compile(
    r"^other\b|^procedures?\b|^referral|therap|management|counsel|exercise|replacement|service|treatment",
    re.IGNORECASE,
)
_Words = tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """Something that a text names: its first name, and where it stands in the folded words of the text."""

    name: str
    start: int
    end: int


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return read_data("chatdoctor_hub.corpus.writing", "known_medicine")


@lru_cache(maxsize=4096)
def _words(text: str) -> _Words:
    """The words of a text as they are compared: small letters, no accents, no hyphens, no plural s."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return tuple(_folded(word) for word in _WORD.findall(plain))


def _folded(word: str) -> str:
    word = word.removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "suis" else word


class _Terms:
    """Names in groups; each group is one thing, called by its first name."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._first: dict[_Words, str] = {}
        self._han: dict[str, str] = {}
        # The words that names begin with, and the lengths of the names that begin so.
        self._lengths: dict[str, list[int]] = {}
        for group in groups:
            self.add(group)

    def add(self, group: Sequence[str]) -> None:
        known = [self._first[words] for name in group if (words := _words(name)) in self._first]
        first = known[0] if known else group[0].casefold()
        for name in group:
            if _HAN.search(name):
                self._han.setdefault(name.casefold(), first)
            elif words := _words(name):
                self._first.setdefault(words, first)
                lengths = self._lengths.setdefault(words[0], [])
                if len(words) not in lengths:
                    lengths.append(len(words))
                    lengths.sort(reverse=True)

    @cached_property
    def han_pattern(self) -> re.Pattern[str]:
        """All Chinese names, the longest first; they come from the shipped list alone."""
        return re.compile("|".join(map(re.escape, sorted(self._han, key=len, reverse=True))) or "(?!)")

    def found(self, text: str, *, nested: bool = False) -> list[Named]:
        """The longest names in a text, from left to right; with `nested`, also those inside of others."""
        words, names, place = _words(text), [], 0
        while place < len(words):
            step = 1
            for length in self._lengths.get(words[place], ()):
                first = self._first.get(words[place : place + length])
                if first is not None and place + length <= len(words):
                    names.append(Named(first, place, place + length))
                    if not nested:
                        step = length
                        break
            place += step
        if _HAN.search(text):
            low = text.casefold()
            names += [Named(self._han[hit.group()], -1, -1) for hit in self.han_pattern.finditer(low)]
        return names


class Lexicon:
    """The names of drugs, tests and conditions that can be found in a text.

    A shipped list (`data/known_medicine.yaml`) and, where one is given, all rows of a disease table. Drugs
    that no list has are told by the ends of nonproprietary names ("-cillin", "-prazole"), conditions by
    endings such as "-itis". What neither has is not found: no list of names is complete.

    Args:
        table: the rows whose names count as well.
    """

    def __init__(self, table: Iterable[Disease] = ()) -> None:
        known = _data()
        self._allowed: dict[tuple[str, Disease], frozenset[str]] = {}
        self._everyday = frozenset(_folded(word) for word in known["everyday"])
        self._drugs = _Terms(entry.split("/") for drugs in known["drugs"].values() for entry in drugs)
        self._classes = _Terms([[f"class:{key}", *names] for key, names in known["classes"].items()])
        self._class_of = {
            entry.split("/")[0].casefold(): key for key, drugs in known["drugs"].items() for entry in drugs
        }
        self._tests = _Terms(entry.split("/") for tests in known["tests"].values() for entry in tests)
        self._kinds = _Terms([[f"kind:{key}", *names] for key, names in known["kinds"].items()])
        conditions = (*known["conditions"], *known["chinese_conditions"])
        self._conditions = _Terms(entry.split("/") for entry in conditions)
        self._signs = _Terms(entry.split("/") for entry in known["signs"])
        endings = "|".join(known["chinese_condition_endings"])
        self._chinese_condition = re.compile(rf"[\u4e00-\u9fff](?:{endings})")
        ends = "|".join(sorted(known["stems"], key=len, reverse=True))
        self._stem = re.compile(rf"[a-z]{{2,}}({ends})")
        chinese = "|".join(sorted(known["chinese_stems"], key=len, reverse=True))
        self._chinese_stem = re.compile(rf"[\u4e00-\u9fff]{{2}}(?:{chinese})")
        self._condition = re.compile(rf"[a-z]{{3,}}(?:{'|'.join(known['condition_endings'])})")
        for row in table:
            self._learn(row)

    def _learn(self, row: Disease) -> None:
        for medication in row.medications:
            for drug in medication.examples or (medication.name,):
                self._add(self._drugs, _drug_names(drug))
        for test in row.tests:
            if not _NOT_A_TEST.search(test):
                self._add(self._tests, _variants(test))
        self._add(self._conditions, _variants(row.name))

    def _add(self, terms: _Terms, names: Sequence[str]) -> None:
        useful = [name for name in names if _words(name) and not self._everyday.issuperset(_words(name))]
        if useful:
            terms.add(useful)

    def drugs(self, text: str, *, nested: bool = False) -> frozenset[str]:
        """The drugs and classes of drugs ("class:antibiotic") that a text names."""
        found = self._drugs.found(text, nested=nested)
        names = {item.name for item in found}
        listed = () if nested else _within(text, found)
        not_drugs = _data()["not_drugs"]
        for word in _words(text):
            if word not in listed and word not in not_drugs and self._stem.fullmatch(word):
                names.add(word)
        plain = self._drugs.han_pattern.sub(" ", text.casefold()) if _HAN.search(text) else ""
        names |= set(self._chinese_stem.findall(plain))
        return frozenset(names | {item.name for item in self._classes.found(text)})

    def tests(self, text: str, *, nested: bool = False) -> frozenset[str]:
        """The tests and kinds of tests ("kind:blood") that a text names."""
        names = {item.name for item in self._tests.found(text, nested=nested)}
        return frozenset(names | {item.name for item in self._kinds.found(text)})

    def conditions(self, text: str, *, nested: bool = False) -> frozenset[str]:
        """The conditions that a text names."""
        found = self._conditions.found(text, nested=nested)
        names = {item.name for item in found}
        listed = () if nested else _within(text, found)
        not_conditions = _data()["not_conditions"]
        endings = {
            word
            for word in _words(text)
            if word not in listed and word not in not_conditions and self._condition.fullmatch(word)
        }
        return frozenset(names | endings | set(self._chinese_condition.findall(text)))

    def signs(self, text: str) -> frozenset[str]:
        """The signs that a text names which decide how urgent something is."""
        return frozenset(item.name for item in self._signs.found(text))

    def allowed_drugs(self, row: Disease) -> frozenset[str]:
        """What a text about a row may name: every drug that the row speaks of, and their classes."""
        return self._once("drugs", row)

    def allowed_tests(self, row: Disease) -> frozenset[str]:
        """The same for tests; a row with a test of a kind may speak of the kind ("blood test")."""
        return self._once("tests", row)

    def allowed_conditions(self, row: Disease) -> frozenset[str]:
        """The same for conditions: the row's own, and those that it speaks of."""
        return self._once("conditions", row)

    def finding(self, row: Disease) -> frozenset[str]:
        """The names of the row's own disease."""
        return self.conditions("\n".join((row.name, *_variants(row.name))), nested=True)

    def _once(self, what: str, row: Disease) -> frozenset[str]:
        """A row comes again with every dialogue about it; what it allows is worked out once."""
        if (what, row) not in self._allowed:
            bare = [name for entry in (row.name, *row.tests) for name in _variants(entry)]
            text = "\n".join((row_text(row), *bare))
            if what == "drugs":
                names = self.drugs(text, nested=True)
                names |= {f"class:{key}" for name in names if (key := self._class(name))}
            elif what == "tests":
                tests = " ".join(row.tests).casefold()
                signs: Mapping[str, Collection[str]] = _data()["kind_signs"]
                kinds = {key for key, words in signs.items() if any(word in tests for word in words)}
                names = self.tests(text, nested=True) | {f"kind:{key}" for key in kinds}
            else:
                names = self.conditions(text, nested=True)
            self._allowed[what, row] = names
        return self._allowed[what, row]

    def _class(self, drug: str) -> str:
        if drug in self._class_of:
            return str(self._class_of[drug])
        stem = self._stem.fullmatch(drug.split()[0]) if drug else None
        return str(_data()["stems"][stem.group(1)]) if stem else ""


def _within(text: str, found: Iterable[Named]) -> frozenset[str]:
    """The words of a text that are part of a name."""
    return frozenset(word for item in found for word in _words(text)[item.start : item.end])


def row_text(row: Disease) -> str:
    """All words of a row, a line for each entry."""
    entries = (*row.symptoms, *row.lay_symptoms, row.cause, *row.tests, *map(str, row.medications))
    return "\n".join((row.name, *entries, *row.red_flags, row.see_doctor, *row.self_care, *row.questions))


def _variants(entry: str) -> list[str]:
    """The names in "Ultrasonography (Ultrasound)", the one outside the brackets first."""
    names = (_BRACKETS.sub(" ", entry), *_BRACKETS.findall(entry))
    return [plain for name in names if (plain := " ".join(name.split()))]


def _drug_names(entry: str) -> list[str]:
    """The names of a drug without its form: "Hydrocortisone Topical Product" is hydrocortisone."""
    names = [" ".join(_FORM.sub(" ", name).split()) for name in _variants(entry)]
    return [name for name in dict.fromkeys(names) if len(name) > 2]
