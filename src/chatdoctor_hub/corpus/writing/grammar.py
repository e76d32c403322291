"""A small grammar of sentences: YAML rules with alternatives and slots, drawn with a seeded generator.

A file holds an id, a version, a source note and rules::

    id: greetings@1
    version: 1
    source: where the sentences come from
    slots: [name]                     # values that the caller gives
    rules:
      hello:
        - "<Hi|Hello> {name}, {wish}"
      wish:
        - "would you like a(n) {fruit}?"
      fruit: [apple, pear]

`{x}` is another rule or a slot, `<a|b|>` a choice on the spot (the last one is empty here), and `a(n)`
becomes "a" or "an" once the next word is known. Only `random.Random.random` is drawn from, whose stream
Python promises to keep, so that one seed gives one text in every process and every version of Python.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

import yaml

from chatdoctor_hub.errors import DataFormatError

__all__ = ["Grammar", "draw", "pick", "read_data", "tidy"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Slot:
    name: str


@dataclass(frozen=True)
class _Choice:
    options: tuple[tuple[_Node, ...], ...]


_Node = str | _Slot | _Choice
_TOKEN = re.compile(r"\{([^{}]*)\}|[<|>{}]|[^<|>{}]+")


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of `items`, each as likely as the others."""
    return items[int(rng.random() * len(items))]


def draw(rng: random.Random, items: Sequence[T], count: int) -> list[T]:
    """`count` of `items` (or all, if there are fewer) without repetition, in random order."""
    rest = list(items)
    return [rest.pop(int(rng.random() * len(rest))) for _ in range(min(count, len(rest)))]


def read_data(package: str, name: str) -> dict[str, Any]:
    """Read `data/<name>.yaml` of a package and check that it has an id, a version and a source note.

    Raises:
        DataFormatError: when one of the three is missing or the file is not a mapping.
    """
    text = (resources.files(package) / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    return _checked(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), f"{name}.yaml")


def _checked(content: object, name: str) -> dict[str, Any]:
    missing = [
        key for key in ("id", "version", "source") if not (isinstance(content, dict) and content.get(key))
    ]
    if not isinstance(content, dict) or missing:
        raise DataFormatError(
            f"Expected {name} to have an id, a version and a source, found no {missing[0]}; add it."
        )
    return content


@lru_cache(maxsize=8192)
def _parse(text: str, where: str) -> tuple[_Node, ...]:
    """Read one alternative into nodes; `<` opens a choice, `|` parts its options, `>` closes it."""
    stack: list[list[list[_Node]]] = [[[]]]
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.group(1) is not None:
            stack[-1][-1].append(_Slot(match.group(1)))
        elif token == "<":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == ">" and len(stack) > 1:
            options = stack.pop()
            stack[-1][-1].append(_Choice(tuple(tuple(option) for option in options)))
        elif token in "<|>{}":
            raise DataFormatError(
                f"Expected balanced {{slots}} and <choices|…> in {where}, found a stray {token!r}."
            )
        else:
            stack[-1][-1].append(token)
    if len(stack) > 1:
        raise DataFormatError(
            f"Expected every choice in {where} to be closed, found '<' without '>'; close it."
        )
    return tuple(stack[0][0])


def _slots_of(nodes: Iterable[_Node]) -> Iterable[str]:
    for node in nodes:
        if isinstance(node, _Slot):
            yield node.name
        elif isinstance(node, _Choice):
            for option in node.options:
                yield from _slots_of(option)


@dataclass(frozen=True)
class Grammar:
    """Rules that can be expanded.

    Args:
        id: name and version in one, such as "greetings@1".
        rules: the alternatives of each rule, as text.
        slots: names whose values the caller of `expand` gives.

    Raises:
        DataFormatError: for a rule without alternatives, unbalanced marks, or a slot that is neither a
            rule nor declared.
    """

    id: str
    rules: Mapping[str, Sequence[str]]
    slots: Sequence[str] = ()
    _nodes: dict[str, tuple[tuple[_Node, ...], ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, alternatives in self.rules.items():
            if (
                isinstance(alternatives, str)
                or not alternatives
                or not all(isinstance(a, str) for a in alternatives)
            ):
                raise DataFormatError(
                    f"Expected rule {name!r} of {self.id} to be a list of texts, found another; fix it."
                )
            self._nodes[name] = tuple(_parse(text, f"rule {name!r} of {self.id}") for text in alternatives)
        for name, parsed in self._nodes.items():
            for slot in (slot for nodes in parsed for slot in _slots_of(nodes)):
                if slot not in self.rules and slot not in self.slots:
                    raise DataFormatError(
                        f"Expected {{{slot}}} in rule {name!r} of {self.id} to be a rule or a declared slot, "
                        "found neither; add the rule or list it under slots."
                    )

    @classmethod
    def load(cls, package: str, name: str) -> Grammar:
        """Read the grammar in `data/<name>.yaml` of a package."""
        content = read_data(package, name)
        return cls(content["id"], content.get("rules") or {}, tuple(content.get("slots") or ()))

    def expand(self, rule: str, rng: random.Random, **slots: str) -> str:
        """A text of `rule`, made tidy (see `tidy`).

        Raises:
            DataFormatError: when there is no such rule, or a slot it uses was not given.
        """
        return tidy(self.raw(rule, rng, **slots))

    def raw(self, rule: str, rng: random.Random, **slots: str) -> str:
        """A text of `rule` as drawn, to be used inside another."""
        if rule not in self._nodes:
            raise DataFormatError(
                f"Expected {rule!r} to be a rule of {self.id}, found none of that name; add it."
            )
        return self._text(pick(rng, self._nodes[rule]), rng, slots)

    def fill_raw(self, text: str, rng: random.Random, **slots: str) -> str:
        """A text that is not among the rules but written like their alternatives, as drawn."""
        return self._text(_parse(text, f"a text for {self.id}"), rng, slots)

    def _text(self, nodes: Sequence[_Node], rng: random.Random, slots: Mapping[str, str]) -> str:
        parts = []
        for node in nodes:
            if isinstance(node, str):
                parts.append(node)
            elif isinstance(node, _Choice):
                parts.append(self._text(pick(rng, node.options), rng, slots))
            elif node.name in slots:
                parts.append(slots[node.name])
            elif node.name in self._nodes:
                parts.append(self._text(pick(rng, self._nodes[node.name]), rng, slots))
            else:
                raise DataFormatError(
                    f"Expected a value for {{{node.name}}} of {self.id}, found none; give it to expand."
                )
        return "".join(parts)


# Letters whose names begin with a vowel sound: an MRI, an X-ray, but a CT scan.
_VOWEL_LETTERS = "AEFHILMNORSX"
_CONSONANT_SOUND = re.compile(
    r"(?:eu|ew|one\b|once\b|uni(?!n|m)|use|usual|uti|ut[ei]r|ur[aeiou]|ubi)", re.IGNORECASE
)
_SILENT_H = re.compile(r"(?:hour|honest|heir|honou?r)", re.IGNORECASE)
_ARTICLE = re.compile(r"\b([aA])\(n\)\s+(\W*)([\w-]+)")
_ABBREVIATIONS = ("e.g.", "i.e.", "vs.", "dr.", "mr.", "mrs.", "etc.", "approx.")
_SENTENCE_START = re.compile(r"([.?!][\"')]*\s+)([\"'(]*)([a-z])")
_FIRST_LETTER = re.compile(r"^[\"'(]*[a-z]")
_SPACE_BEFORE = re.compile(r"\s+([,.;:?!])")
_WEAK_MARK = re.compile(r"[,;:]+(?=[.?!])")
_STOP_AFTER_MARK = re.compile(r"(?<=[?!])\.+|(?<!\.)\.(?=\.(?!\.))")
_FINISHED = re.compile(r"[.?!][\"')]*$")


def _article(match: re.Match[str]) -> str:
    first, lead, word = match.groups()
    head = re.split(r"[-\d]", word)[0] or word
    if head.isupper() or sum(letter.isupper() for letter in word) > 1:
        vowel = head[0] in _VOWEL_LETTERS
    elif word[0] in "8" or word[:2] in ("11", "18"):
        vowel = True
    else:
        vowel = (word[0].lower() in "aeiou" and not _CONSONANT_SOUND.match(word)) or bool(
            _SILENT_H.match(word)
        )
    return f"{first}{'n' if vowel else ''} {lead}{word}"


def _capital(match: re.Match[str]) -> str:
    mark, lead, letter = match.groups()
    so_far = match.string[max(0, match.start() - 8) : match.start() + 1].lower()
    return mark + lead + (letter if so_far.endswith(_ABBREVIATIONS) else letter.upper())


def tidy(text: str) -> str:
    """Settle articles, spaces, doubled marks, capitals at the start of sentences and the last full stop."""
    text = _SPACE_BEFORE.sub(r"\1", " ".join(text.split())).rstrip(" ,;:")
    text = _STOP_AFTER_MARK.sub("", _WEAK_MARK.sub("", text))
    text = _ARTICLE.sub(_article, text)
    text = _FIRST_LETTER.sub(lambda match: match.group().upper(), text)
    text = _SENTENCE_START.sub(_capital, text)
    return text if not text or _FINISHED.search(text) else f"{text}."
