"""Texts with identifiers planted in them, to measure recall: invented values in sentences of `planted.yaml`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import yaml

from chatdoctor_hub.corpus.cleaning.identifiers.kinds import KINDS
from chatdoctor_hub.corpus.cleaning.identifiers.planted_values import InventedValues

__all__ = ["Planted", "SentenceSet", "planted_texts", "read_sentences"]

SentenceSet = Literal["development", "held_out"]
_SLOT = re.compile(r"<(\w+)>|\{(\w+)\}")


@dataclass(frozen=True)
class Planted:
    """A text with one identifier in it.

    Args:
        kind: of the identifier.
        text: as a patient or doctor might write it.
        start: of the identifier, in characters.
        end: of it, exclusive.
    """

    kind: str
    text: str
    start: int
    end: int


@lru_cache(maxsize=4)
def read_sentences(name: str) -> dict[str, Any]:
    """A YAML file of `data/`."""
    file = resources.files(__package__).joinpath("data").joinpath(f"{name}.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return content


def planted_texts(
    n: int, seed: int, sentences: SentenceSet = "held_out", kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[Planted]:
    """`n` texts with one identifier each, of the kinds in turn; the same for the same arguments."""
    data = read_sentences("planted")[sentences]
    values = InventedValues(random.Random(f"{sentences} {seed}"), data)
    for number in range(n):
        kind = kinds[number % len(kinds)]
        carriers = data["carriers"][kind]
        yield _plant(kind, carriers[number // len(kinds) % len(carriers)], values, data["context"])


def _plant(kind: str, carrier: str, values: InventedValues, context: list[str]) -> Planted:
    first, last = carrier.startswith("^"), carrier.endswith("$")
    core = carrier.removeprefix("^").removesuffix("$")
    lead = "" if first or values.rng.random() < 0.3 else values.rng.choice(context) + " "
    tail = "" if last or values.rng.random() < 0.3 else " " + values.rng.choice(context)
    if core.startswith("\n"):
        lead = lead.rstrip()
    text, start, end, place = lead, 0, 0, 0
    for slot in _SLOT.finditer(core):
        text += core[place : slot.start()]
        value = values.of(slot[1] or slot[2])
        if slot[1]:
            start, end = len(text), len(text) + len(value)
        text += value
        place = slot.end()
    return Planted(kind, text + core[place:] + tail, start, end)
