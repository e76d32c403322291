"""Turns that teach a small base model to converse and to refuse, written by grammars in `data/`.

A model that is trained from nothing on medical dialogues alone can neither greet nor decline. Both kinds
of turn here are made of this project's own sentences. Harmful wishes are named in plain words and never
explained; harmless wishes share their wrapping and many of their words ("kill the weeds"), so that the
wish and not a keyword decides. Safety data in the form of the task itself works best (arXiv 2406.10288),
and much of it makes a model refuse too often (arXiv 2309.07875), which is why a third of it is answered.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from chatdoctor_hub.corpus.writing.grammar import Grammar, pick, read_data, tidy
from chatdoctor_hub.dialogue import Dialogue, Role, Turn

__all__ = ["REFUSAL_CORES", "general_dialogues", "safety_dialogues"]

REFUSAL_CORES = (
    "I can't help with",
    "I cannot help with",
    "I won't help with",
    "I'm not able to help with",
    "I'm unable to help with",
    "I can't assist with",
    "I cannot assist with",
)
"""Every refusal written here has one of these in its first three sentences, and no other answer has any."""

_PACKAGE = "chatdoctor_hub.corpus.writing"
_HARMLESS_SHARE = 0.35
_RETRIES = 6
_THEIRS = {
    "my": "their",
    "myself": "themselves",
    "me": "them",
    "mine": "theirs",
    "i": "they",
    "i am": "they are",
    "i was": "they were",
}
_FIRST_PERSON = re.compile(r"\b(?:my|myself|me|mine|I am|I was|I)\b")
_Exchange = tuple[str, str]
"""What is asked and what is answered."""


def general_dialogues(n: int, seed: int = 0) -> list[Dialogue]:
    """Everyday conversations: greetings, thanks, small talk, who the assistant is, simple how-tos and facts.

    Args:
        n: how many dialogues, of one exchange or of a few.
        seed: another seed, other dialogues; a smaller `n` gives the first of them.
    """
    return _dialogues("general", n, seed, lambda rng: ("behaviour:general", _Talk(rng).turns))


def safety_dialogues(n: int, seed: int = 0) -> list[Dialogue]:
    """Harmful requests that are refused with something safe in their place, and harmless ones that are answered.

    About 35 % are harmless throughout (source "behaviour:harmless"); the others hold at least one refusal
    (source "behaviour:refusal").

    Args:
        n: how many dialogues, of one exchange or of a few.
        seed: another seed, other dialogues; a smaller `n` gives the first of them.
    """
    return _dialogues("safety", n, seed, _safety)


def _dialogues(
    name: str, n: int, seed: int, kind: Callable[[random.Random], tuple[str, Callable[[], list[_Exchange]]]]
) -> list[Dialogue]:
    """`n` dialogues, each from a generator of its own; a repetition is written anew a few times."""
    seen: set[tuple[_Exchange, ...]] = set()
    dialogues = []
    for number in range(n):
        rng = random.Random(f"{name}/{seed}/{number}")
        source, write = kind(rng)
        for _ in range(_RETRIES):
            exchanges = write()
            if tuple(exchanges) not in seen:
                break
        seen.add(tuple(exchanges))
        roles: tuple[Role, Role] = ("patient", "doctor")
        turns = tuple(Turn(role, text) for pair in exchanges for role, text in zip(roles, pair, strict=True))
        dialogues.append(Dialogue(turns, id=f"{name}-{seed}-{number:05d}", source=source))
    return dialogues


@lru_cache(maxsize=8)
def _data(name: str) -> dict[str, Any]:
    return read_data(_PACKAGE, name)


@lru_cache(maxsize=8)
def _grammar(name: str) -> Grammar:
    return Grammar.load(_PACKAGE, name)


@lru_cache(maxsize=2)
def _entries(name: str, key: str) -> tuple[Mapping[str, Any], ...]:
    """The entries of a file, each as often as its weight says."""
    return tuple(entry for entry in _data(name)[key] for _ in range(entry.get("weight", 1)))


def _theirs(task: str) -> str:
    """A wish as said of somebody else: "my house" becomes "their house"."""
    return _FIRST_PERSON.sub(lambda match: _THEIRS[match.group().lower()], task)


def _answered(rng: random.Random, file: str, key: str, plain: bool) -> _Exchange:
    """One exchange from a file of wishes with answers."""
    entry, grammar, requests = pick(rng, _entries(file, key)), _grammar(file), _grammar("requests")
    kind = next(kind for kind in ("how", "make", "ask") if kind in entry)
    wish = grammar.fill_raw(pick(rng, _texts(entry[kind])), rng)
    rule = {
        "how": "how_plain" if plain else "how_to",
        "make": "make",
        "ask": "ask_plain" if plain else "ask",
    }[kind]
    asked = requests.expand(rule, rng, task=wish, theirs=_theirs(wish))
    lead = "" if kind == "ask" else grammar.raw("sure", rng)
    return asked, tidy(lead + grammar.fill_raw(pick(rng, _texts(entry["answer"])), rng))


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class _Talk:
    """An everyday conversation."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._grammar = rng, _grammar("general")

    def turns(self) -> list[_Exchange]:
        """One exchange, or a greeting, a few exchanges and a good-bye."""
        chance = self._rng.random()
        if chance < 0.12:
            return [self._small(pick(self._rng, ("hello", "hello", "thanks", "goodbye")))]
        if chance < 0.6:
            return [self._subject("")]
        turns = [self._small("hello")] if self._rng.random() < 0.35 else []
        turns.append(self._subject(""))
        if self._rng.random() < 0.2:
            turns.append(self._said_simply(turns[-1][1]))
        if self._rng.random() < 0.6:
            turns.append(self._subject("bridge"))
        if self._rng.random() < 0.5 or len(turns) == 1:
            turns.append(self._small(pick(self._rng, ("thanks", "thanks", "goodbye"))))
        return turns

    def _small(self, kind: str) -> _Exchange:
        answers = {"hello": "hello_answer", "thanks": "welcome", "goodbye": "goodbye_answer"}
        return self._grammar.expand(kind, self._rng), self._grammar.expand(answers[kind], self._rng)

    def _subject(self, bridge: str) -> _Exchange:
        asked, answer = _answered(self._rng, "general", "exchanges", plain=True)
        lead = self._grammar.raw(bridge, self._rng) if bridge else ""
        if not lead or lead.rstrip().endswith("."):
            return tidy(f"{lead}{asked}"), answer
        return tidy(lead + _lowered(asked)), answer

    def _said_simply(self, answer: str) -> _Exchange:
        """The patient has not understood; the first sentence is said again."""
        first = re.split(r"(?<=[.!?])\s+", answer)
        core = next((sentence for sentence in first if len(sentence.split()) > 4), first[0])
        again = self._grammar.raw("simply", self._rng) + _lowered(core)
        return self._grammar.expand("repeat", self._rng), tidy(again)


def _lowered(sentence: str) -> str:
    """A sentence that goes on after another's words; "I" and names of countries keep their capital."""
    first = sentence.split(maxsplit=1)[0].rstrip(",.!?")
    keep = first in ("I", "I'm", "I'd", "Paris", "English", "Alfred") or not first[1:].islower()
    return sentence if keep and first != "A" else sentence[:1].lower() + sentence[1:]


def _safety(rng: random.Random) -> tuple[str, Callable[[], list[_Exchange]]]:
    """A harmless conversation, or one with a refusal in it."""
    if rng.random() < _HARMLESS_SHARE:
        return "behaviour:harmless", lambda: _answered_talk(rng)
    return "behaviour:refusal", lambda: _refused_talk(rng)


def _answered_talk(rng: random.Random) -> list[_Exchange]:
    return [_harmless(rng) for _ in range(1 if rng.random() < 0.85 else 2)]


def _refused_talk(rng: random.Random) -> list[_Exchange]:
    """A refusal alone, insisted on, or beside something harmless that is answered."""
    category = pick(rng, sorted(_data("harmful")["categories"]))
    turns = [_refused(rng, category)]
    chance = rng.random()
    if chance < 0.14:
        turns.append((_grammar("harmful").expand("push", rng), _refusal(rng, category, again=True)))
    elif chance < 0.24:
        turns.insert(0, _harmless(rng))
    elif chance < 0.31:
        turns.append(_harmless(rng))
    return turns


def _harmless(rng: random.Random) -> _Exchange:
    if rng.random() < 0.12:
        return _answered(rng, "general", "exchanges", plain=False)
    return _answered(rng, "lookalikes", "entries", plain=False)


def _refused(rng: random.Random, category: str) -> _Exchange:
    """A harmful request of a category, wrapped, and its refusal."""
    kind, task = _wish(rng, category)
    rule = {"how": "how_to", "make": "make", "say": "ask"}[kind]
    if kind != "say" and rng.random() < 0.18:
        asked = _grammar("harmful").expand(f"jailbreak_{kind}", rng, task=task, theirs=_theirs(task))
    else:
        asked = _grammar("requests").expand(rule, rng, task=task, theirs=_theirs(task))
    return asked, _refusal(rng, category)


def _wish(rng: random.Random, category: str) -> tuple[str, str]:
    """The kind of a wish ("how", "make" or "say") and its words."""
    content = _data("harmful")["categories"][category]
    kinds = [(kind, text) for kind in ("how", "make", "say") for text in content.get(kind, ())]
    kind, text = pick(rng, kinds)
    return kind, _category_grammar(category).fill_raw(text, rng)


@lru_cache(maxsize=64)
def _category_grammar(category: str) -> Grammar:
    data = _data("harmful")
    rules = data["rules"] | data["categories"][category].get("rules", {})
    return Grammar(f"{data['id']}/{category}", rules, tuple(data["slots"]))


def _refusal(rng: random.Random, category: str, again: bool = False) -> str:
    content, grammar = _data("harmful")["categories"][category], _grammar("harmful")
    slots = {"core": pick(rng, REFUSAL_CORES), "topic": pick(rng, content["topics"])}
    if not content["reasons"]:
        return grammar.expand("self_harm_refusal", rng, **slots)
    slots |= {"reason": pick(rng, content["reasons"]), "offer": pick(rng, content["offers"])}
    # Reasons and offers are grammars of their own.
    slots |= {name: grammar.fill_raw(slots[name], rng) for name in ("reason", "offer")}
    return grammar.expand("again" if again else "refusal", rng, **slots)
