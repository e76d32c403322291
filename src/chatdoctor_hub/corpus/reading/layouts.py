"""The layouts in which dialogues circulate: which keys a record has, and who says what in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chatdoctor_hub.corpus.reading.labelled import labelled_turns, utterance
from chatdoctor_hub.corpus.reading.records import json_kind
from chatdoctor_hub.corpus.reading.repair import (
    NO_DOCTOR,
    UnusableRecordError,
    repair_answer,
    repair_question,
    repair_words,
)
from chatdoctor_hub.corpus.reading.speeches import (
    ANY_ROLES,
    HUB_ROLES,
    Turns,
    emptiness,
    joined,
    said,
    speeches,
    text_of,
)

__all__ = ["COLUMNS", "KNOWN_LAYOUTS", "LAYOUTS", "Layout", "layout_named", "layout_of", "layout_of_list"]

KNOWN_LAYOUTS = (
    "a JSON array (or one record a line) of {instruction, input, output} or of {messages: [...]}, or another "
    "known layout of dialogues"
)
# sha256 of the lower-case words of the one instruction that all published ChatDoctor records share.
_CHATDOCTOR_INSTRUCTION = "ffb01c9361c343aab36414815506bdd013561449311ca4c10441c6f1f4733ba8"


@dataclass(frozen=True)
class Layout:
    """A layout.

    Args:
        name: as published sets refer to it.
        keys: what a record of it has at least; of each inner tuple one.
        read: record, repairs made, whose answer -> turns; raises UnusableRecordError.
        shown: the keys, for messages.
        columns: the keys that are read, where they are more.
    """

    name: str
    keys: tuple[tuple[str, ...], ...]
    read: Callable[[Any, set[str], str], Turns]
    shown: str
    columns: tuple[str, ...] = ()

    def fits(self, keys: Collection[str]) -> bool:
        """Whether records with these keys have this layout."""
        return all(any(name in keys for name in names) for names in self.keys)


def _alpaca(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    """Alpaca's record; also with the `system` and `history` that LLaMA-Factory adds."""
    before = _history(record, repairs)
    system = repair_words(text_of(record, "system"), repairs) if "system" in record else ""
    if before:
        # After turns of a conversation the instruction is no task any more, but what is said next.
        said_next = "\n".join(text for key in ("instruction", "input") if (text := text_of(record, key)))
        asked = repair_question(said_next, repairs)
        turns = [*before, *([("patient", asked)] if asked else []), *_answered(record, "output", repairs)]
    else:
        turns = _asked_and_answered(record, ("instruction", "input", "output"), repairs)
    if not system:
        return turns
    task = [text for role, text in turns if role == "system"]
    return [("system", "\n\n".join([system, *task])), *(turn for turn in turns if turn[0] != "system")]


def _history(record: Mapping[str, Any], repairs: set[str]) -> Turns:
    rounds = record.get("history") or []
    if not isinstance(rounds, list):
        raise UnusableRecordError(f"expected a list in 'history', found {json_kind(rounds)}")
    turns: Turns = []
    for number, pair in enumerate(rounds, start=1):
        if not isinstance(pair, list) or [type(text) for text in pair] != [str, str]:
            raise UnusableRecordError(f"expected question and answer as round {number} of 'history'")
        asked = repair_question(pair[0], repairs)
        turns += [*([("patient", asked)] if asked else []), *repair_answer(pair[1], repairs)]
    return turns


def _orca(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    return _asked_and_answered(record, ("system_prompt", "question", "response"), repairs)


def _asked_and_answered(record: Mapping[str, Any], keys: tuple[str, str, str], repairs: set[str]) -> Turns:
    instruction = repair_words(text_of(record, keys[0]), repairs)
    question = repair_question(text_of(record, keys[1]), repairs)
    turns: Turns = []
    if _is_chatdoctors(instruction):
        pass
    elif question and instruction:
        turns.append(("system", instruction))
    else:
        question = question or repair_question(instruction, repairs)
    if question:
        turns.append(("patient", question))
    return turns + _answered(record, keys[2], repairs)


def _answered(record: Mapping[str, Any], key: str, repairs: set[str]) -> Turns:
    answer = text_of(record, key)
    turns = repair_answer(answer, repairs)
    if not turns:
        raise UnusableRecordError(f"{NO_DOCTOR}: {key!r} {emptiness(answer)}")
    return turns


def _pair(question: str, answer: str) -> Callable[[Mapping[str, Any], set[str], str], Turns]:
    def read(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
        asked = repair_question(text_of(record, question), repairs)
        return ([("patient", asked)] if asked else []) + _answered(record, answer, repairs)

    return read


def _icliniq(record: Mapping[str, Any], repairs: set[str], whose: str) -> Turns:
    return _pair("input", f"answer_{whose}")(record, repairs, whose)


def _bianque(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    """BianQue's sample: the dialogue so far with its labels, and the doctor's next turn (arXiv 2310.15896)."""
    turns = labelled_turns(repair_words(text_of(record, "input"), repairs))
    if turns and turns[0] == ("patient", "无"):
        raise UnusableRecordError("no patient turn: the patient's words are 无 (nothing)")
    return joined(turns + _answered(record, "target", repairs), repairs)


def _completion(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    """TRL's prompt and completion, each a text or a list of messages."""
    turns: Turns = []
    prompt = record.get("prompt")
    answer = "completion" if "completion" in record else "response"
    if isinstance(prompt, list):
        turns += speeches(prompt, repairs, HUB_ROLES)
    elif asked := repair_question(text_of(record, "prompt"), repairs):
        turns.append(("patient", asked))
    if isinstance(record.get(answer), list):
        return turns + speeches(record[answer], repairs, HUB_ROLES)
    return turns + _answered(record, answer, repairs)


def _hub_messages(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    return speeches(record["messages"], repairs, HUB_ROLES)


def _sharegpt(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    entries = record["conversations"]
    system = repair_words(text_of(record, "system"), repairs) if "system" in record else ""
    first = entries[0] if isinstance(entries, list) and entries else None
    names = ("role", "content") if isinstance(first, Mapping) and "role" in first else ("from", "value")
    turns = speeches(entries, repairs, ANY_ROLES, names, "conversations")
    return [("system", system), *turns] if system and turns[:1] and turns[0][0] != "system" else turns


def _entries(
    key: str, who: str, what: str, opening: str = ""
) -> Callable[[Mapping[str, Any], set[str], str], Turns]:
    """A list of sentences, of which one speaker may say several in a row."""

    def read(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
        report = repair_question(text_of(record, opening), repairs) if opening else ""
        turns: Turns = [("patient", report)] if report else []
        return joined(turns + speeches(record[key], repairs, ANY_ROLES, (who, what), key, True), repairs)

    return read


def _utterances(record: Mapping[str, Any], repairs: set[str], _: str) -> Turns:
    """MedDialog's `["patient: …", "doctor: …"]` (arXiv 2004.03329)."""
    return _labelled_list(record["utterances"], repairs)


def _labelled_list(utterances: Any, repairs: set[str]) -> Turns:
    if not isinstance(utterances, list):
        raise UnusableRecordError(f"expected a list in 'utterances', found {json_kind(utterances)}")
    turns: Turns = []
    for number, text in enumerate(utterances, start=1):
        if not isinstance(text, str):
            raise UnusableRecordError(f"expected text as utterance {number}, found {json_kind(text)}")
        role, words = utterance(text)
        if not role:
            raise UnusableRecordError(
                f"expected a label such as 'patient:' before utterance {number}, found none"
            )
        turns += said(role, words, repairs)
    return joined(turns, repairs)


def _bare_list(record: Any, repairs: set[str], _: str) -> Turns:
    """A record that is a list: of MedDialog-CN's labelled texts, or of MedDG's sentences."""
    if record and isinstance(record[0], str):
        return _labelled_list(record, repairs)
    return joined(speeches(record, repairs, ANY_ROLES, ("id", "Sentence"), "record", True), repairs)


@lru_cache(maxsize=64)
def _is_chatdoctors(instruction: str) -> bool:
    words = " ".join(re.findall(r"[a-z]+", instruction[:1000].lower()))
    return hashlib.sha256(words.encode()).hexdigest() == _CHATDOCTOR_INSTRUCTION


_ANSWERS = ("answer_icliniq", "answer_chatgpt", "answer_chatdoctor")
# In the order in which they are tried: the less particular come last.
LAYOUTS = (
    Layout("messages", (("messages",),), _hub_messages, "messages"),
    Layout("sharegpt", (("conversations",),), _sharegpt, "conversations", ("conversations", "system")),
    Layout("meddialog", (("utterances",),), _utterances, "utterances"),
    Layout("chip", (("dialog_info",),), _entries("dialog_info", "sender", "text"), "dialog_info"),
    Layout(
        "imcs",
        (("dialogue",), ("self_report",)),
        _entries("dialogue", "speaker", "sentence", "self_report"),
        "self_report, dialogue",
    ),
    Layout("icliniq", (("input",), _ANSWERS), _icliniq, ", ".join(("input", *_ANSWERS))),
    Layout("bianque", (("input",), ("target",)), _bianque, "input, target"),
    Layout("completion", (("prompt",), ("completion", "response")), _completion, "prompt, completion"),
    Layout(
        "orca", (("question",), ("response",)), _orca, "system_prompt, question, response", ("system_prompt",)
    ),
    Layout("qa", (("question",), ("answer",)), _pair("question", "answer"), "question, answer"),
    Layout(
        "alpaca",
        (("instruction", "input", "output"),),
        _alpaca,
        "instruction, input, output",
        ("system", "history"),
    ),
)
_LIST = Layout("list", (), _bare_list, "a list of sentences")

COLUMNS = frozenset(
    [name for layout in LAYOUTS for names in layout.keys for name in names]
    + [name for layout in LAYOUTS for name in layout.columns]
    + ["topic", "id", "patient_id", "dialogue_id", "dialog_id", "conversation_id"]
)
"""Every column that a layout reads."""


@lru_cache(maxsize=256)
def layout_of(keys: tuple[str, ...]) -> Layout | None:
    """The layout of records with these keys."""
    return next((layout for layout in LAYOUTS if layout.fits(keys)), None)


def layout_of_list() -> Layout:
    """The layout of records that are lists."""
    return _LIST


def layout_named(name: str) -> Layout:
    """The layout of that name; KeyError for another name."""
    return {layout.name: layout for layout in (*LAYOUTS, _LIST)}[name]
