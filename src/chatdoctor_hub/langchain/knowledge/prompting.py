"""`KnowledgePrompts`: what the autonomous ChatDoctor says to the model, as named and digested data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template

import yaml

from chatdoctor_hub.errors import PromptError, UnknownPromptError

__all__ = ["KnowledgePrompts", "filled"]


@dataclass(frozen=True)
class KnowledgePrompts:
    """The texts of the steps; a safety prompt is none of them, for that is the model's own.

    Args:
        id: name and version, "knowledge-doctor@1".
        keywords_rules, keywords_request: system text ($most) and user text ($number, $talk) for search terms.
        reading_rules, reading_request: the same for choosing sentences ($number, $talk, $notes).
        answer_rules, answer_request: the same for the answer ($number, $notes, $words).
        nothing_rules: system text where nothing was found; the user text is the patient's own.
        nothing_found, nothing_reached: the sentence put in front of an answer without references.
        go_on: the patient's words where the doctor spoke last.
        source: where the texts come from.

    Raises:
        PromptError: when a request lacks a place for what it is about.
    """

    id: str
    keywords_rules: str
    keywords_request: str
    reading_rules: str
    reading_request: str
    answer_rules: str
    answer_request: str
    nothing_rules: str
    nothing_found: str
    nothing_reached: str
    go_on: str
    source: str = ""

    def __post_init__(self) -> None:
        places = {
            "keywords_request": ("talk",),
            "reading_request": ("talk", "notes"),
            "answer_request": ("notes", "words"),
        }
        for name, needed in places.items():
            missing = [place for place in needed if f"${place}" not in getattr(self, name)]
            if missing:
                raise PromptError(
                    f"Expected {name} of prompts {self.id} to hold ${', $'.join(missing)}, found none; add it."
                )

    @classmethod
    def load(cls, id: str = "knowledge-doctor@1") -> KnowledgePrompts:
        """The prompts that ship with the package.

        Raises:
            UnknownPromptError: naming those that there are.
        """
        return _load(str(id))

    @property
    def sha256(self) -> str:
        """sha256 (hex) over all texts, the id included."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def filled(template: str, **values: str) -> str:
    """The template with each `$name` of `values` filled in, once: values are never read as templates."""
    return Template(template).safe_substitute(values)


@cache
def _load(id: str) -> KnowledgePrompts:
    folder = resources.files(__package__).joinpath("data")
    known = sorted(
        file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")
    )
    if id not in known:
        raise UnknownPromptError(
            f"Expected the id of knowledge prompts ({', '.join(known)}), found {id!r}; use one of these."
        )
    texts = yaml.safe_load(folder.joinpath(f"{id}.yaml").read_text(encoding="utf-8"))
    texts.pop("version")
    return KnowledgePrompts(**{name: text.strip() for name, text in texts.items()})
